/* SPDX-License-Identifier: Apache-2.0
 * The command line: which command, which words, which options. Pure. */
#pragma once

#include "webui-api/cli/cli.h"

/* Options every command takes; the entry with name NULL ends it. */
extern const CliOption cli_common_options[];

/* Parse `arguments` (NULL-terminated, without the program's name) into *out, which the caller has zeroed and clears
 * with parse_clear() in any case. out->command stays NULL when only help was asked for. INVALID says what is wrong. */
gboolean parse_command_line(char *const *arguments, Cli *out, GError **error);
void parse_clear(Cli *cli);
