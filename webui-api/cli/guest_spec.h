/* SPDX-License-Identifier: Apache-2.0
 * From the options of `holdfast guest create` to the body of POST /guests. Pure but for reading the file of -f. */
#pragma once

#include "webui-api/cli/cli.h"

extern const CliOption guest_spec_options[];

/* {"name", "spec"}. INVALID names the option. Caller owns the result. */
json_t *guest_spec_body(const Cli *cli, GError **error);
/* The body of `guest set NAME KEY=VALUE...`; INVALID names the word or the key. */
json_t *guest_set_body(const Cli *cli, GError **error);
