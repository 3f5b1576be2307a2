/* SPDX-License-Identifier: Apache-2.0
 * The command line of the store's rescue. Nothing is guessed and nothing has a default: these commands throw data away
 * if they are used at the wrong time. */
#include "node-agent/setup/store_command.h"

#include "common/error.h"
#include "common/lock.h"
#include "node-agent/setup/checks.h"
#include "node-agent/setup/store_rejoin.h"
#include "node-agent/setup/store_rescue_run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const verb_names[] = {"rescue", "restore", "leave", "rejoin"};

void store_command_clear(StoreCommand *command)
{
    g_clear_pointer(&command->file, g_free);
    g_clear_pointer(&command->confirm, g_free);
}

static gboolean verb_parse(const char *word, StoreVerb *ret, GError **error)
{
    for (gsize i = 0; word && i < G_N_ELEMENTS(verb_names); i++) {
        if (strcmp(word, verb_names[i]) == 0) {
            *ret = (StoreVerb) i;
            return TRUE;
        }
    }
    return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                               "store: must be followed by rescue, restore FILE, leave or rejoin");
}

gboolean store_command_parse(char *const *words, StoreCommand *ret, GError **error)
{
    if (!verb_parse(words[0], &ret->verb, error)) {
        return FALSE;
    }
    gboolean makes_store = ret->verb == STORE_COMMAND_RESCUE || ret->verb == STORE_COMMAND_RESTORE;
    for (char *const *word = words + 1; *word; word++) {
        if (strcmp(*word, "--confirm") == 0 && ret->verb != STORE_COMMAND_REJOIN) {
            if (!word[1]) {
                return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "--confirm: needs the cluster's name");
            }
            g_free(ret->confirm);
            ret->confirm = g_strdup(*++word);
        } else if (strcmp(*word, "--others-gone") == 0 && makes_store) {
            ret->others_gone = TRUE;
        } else if (**word != '-' && ret->verb == STORE_COMMAND_RESTORE && !ret->file) {
            ret->file = g_canonicalize_filename(*word, NULL);
        } else {
            return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "'%s': store %s does not take that", *word,
                                       words[0]);
        }
    }
    return ret->verb != STORE_COMMAND_RESTORE || ret->file ||
           holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                               "store restore: needs the snapshot's file, see /var/lib/holdfast/store-snapshots");
}

/* A line from the terminal; NULL without one. Caller frees. */
static char *ask(const char *question)
{
    char line[256];
    if (!isatty(STDIN_FILENO)) {
        return NULL;
    }
    printf("%s ", question);
    fflush(stdout);
    return fgets(line, sizeof(line), stdin) ? g_strdup(g_strstrip(line)) : NULL;
}

static gboolean new_store(const SetupContext *context, StoreCommand *command, GError **error)
{
    g_autofree char *seen = rescue_look_text(context, error);
    if (!seen) {
        return FALSE;
    }
    printf("%s\nA store of one voter, this node, is made %s%s.\nWhat the others wrote that this does not have is lost. "
           "Afterwards no guest starts until its copies are proven current.\n",
           seen, command->file ? "from " : "from this node's own copy", command->file ? command->file : "");
    if (!command->confirm) {
        command->confirm = ask("\nThe name of the cluster, to go on:");
    }
    if (!command->others_gone) {
        g_autofree char *answer =
            ask("Is every other voter switched off, destroyed, or out by `holdfast store leave`? Type 'gone':");
        command->others_gone = g_strcmp0(answer, "gone") == 0;
    }
    RescueRequest request = {
        .snapshot = command->file, .confirm = command->confirm, .others_gone = command->others_gone};
    return rescue_run(context, &request, error);
}

gboolean store_command_run(const SetupContext *context, StoreCommand *command, GError **error)
{
    if (!check_root(context, error)) {
        return FALSE;
    }
    LOCK_AUTO int lock = lock_take("store-setup", 0, error);
    if (lock < 0) {
        g_prefix_error(error, "another `holdfast store` is at work on this node: ");
        return FALSE;
    }
    switch (command->verb) {
    case STORE_COMMAND_RESCUE:
    case STORE_COMMAND_RESTORE:
        return new_store(context, command, error);
    case STORE_COMMAND_LEAVE:
        if (!command->confirm) {
            command->confirm = ask("The name of the cluster whose store this node leaves:");
        }
        return store_leave(context, command->confirm, error);
    case STORE_COMMAND_REJOIN:
        return store_rejoin(context, error);
    }
    g_return_val_if_reached(FALSE);
}
