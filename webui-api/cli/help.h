/* SPDX-License-Identifier: Apache-2.0
 * Help texts from the command table. Pure. */
#pragma once

#include "webui-api/cli/cli.h"

/* All commands, or those of `noun` when not NULL. NULL when there are none. Caller frees. */
char *help_commands(const char *noun);
/* One command with its options. Caller frees. */
char *help_command(const CliCommand *command);
