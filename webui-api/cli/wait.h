/* SPDX-License-Identifier: Apache-2.0
 * Waiting for operations, with progress on standard error. */
#pragma once

#include "webui-api/cli/cli.h"

/* After a mutation: wait for `operation` to end, or with --no-wait print its id. A failed or cancelled operation is an
 * error with its own code. Ctrl-C is CANCELLED, saying that the operation goes on. */
gboolean wait_finish(Cli *cli, const json_t *operation, GError **error);
/* The same by id, waiting whatever --no-wait says. */
gboolean wait_for(Cli *cli, const char *id, GError **error);

/* "fetching blocks 43 % (430 of 1000 MiB)" of an operation. Pure. Caller frees. */
char *wait_progress_text(const json_t *operation);
