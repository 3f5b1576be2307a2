/* SPDX-License-Identifier: Apache-2.0
 * `holdfast-setup store ...`: its command line, and the questions to the operator. */
#pragma once

#include "node-agent/setup/context.h"

typedef enum { STORE_COMMAND_RESCUE, STORE_COMMAND_RESTORE, STORE_COMMAND_LEAVE, STORE_COMMAND_REJOIN } StoreVerb;

typedef struct {
    StoreVerb verb;
    char *file;    /* restore */
    char *confirm; /* NULL: to be asked for */
    gboolean others_gone;
} StoreCommand;

void store_command_clear(StoreCommand *command);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreCommand, store_command_clear)

/* `words`: what follows "store", NULL-terminated. INVALID: the text names the word and says what is right. */
gboolean store_command_parse(char *const *words, StoreCommand *ret, GError **error);
/* Show what is there, ask what was not given when standard input is a terminal, and do it. */
gboolean store_command_run(const SetupContext *context, StoreCommand *command, GError **error);
