/* SPDX-License-Identifier: Apache-2.0
 * holdfast-setup: make this machine a node. */
#include "common/error.h"
#include "common/log.h"
#include "node-agent/setup/init.h"
#include "node-agent/setup/join_run.h"
#include "node-agent/setup/options.h"
#include "node-agent/setup/reset.h"
#include "node-agent/setup/store_command.h"

#include <stdio.h>
#include <string.h>

static gboolean first_boot(const SetupContext *context, GError **error)
{
    g_autoptr(Answers) answers = answers_read(context, ANSWERS_PATH, error);
    if (!answers) {
        return FALSE;
    }
    return answers->action == ANSWERS_INIT ? init_run(context, answers, error)
                                           : join_run_until_done(context, answers, error);
}

static gboolean status(const SetupContext *context, GError **error)
{
    g_autofree char *text = reset_status_text(context, error);
    if (text) {
        fputs(text, stdout);
    }
    return text != NULL;
}

static gboolean run(const SetupContext *context, const Options *options, GError **error)
{
    switch (options->verb) {
    case OPTIONS_INIT:
        return init_run(context, options->answers, error);
    case OPTIONS_JOIN:
        return join_run(context, options->answers, error);
    case OPTIONS_FIRST_BOOT:
        return first_boot(context, error);
    case OPTIONS_STATUS:
        return status(context, error);
    case OPTIONS_RESET:
        return reset_run(context, error);
    case OPTIONS_HELP:
        fputs(options_help(), stdout);
        return TRUE;
    }
    g_return_val_if_reached(FALSE);
}

static gboolean run_store(const SetupContext *context, char **words, GError **error)
{
    g_auto(StoreCommand) command = {0};
    return store_command_parse(words, &command, error) && store_command_run(context, &command, error);
}

int main(int argc, char **argv)
{
    const SetupContext *context = setup_context_default();
    g_autoptr(GError) error = NULL;
    if (argc > 1 && strcmp(argv[1], "store") == 0 && run_store(context, argv + 2, &error)) {
        return 0;
    }
    g_auto(Options) options = {0};
    if (!error && options_parse(context, argc, argv, &options, &error) && run(context, &options, &error)) {
        return 0;
    }
    log_line(LOG_LEVEL_ERROR, "holdfast-setup: %s", error->message);
    return holdfast_error_exit_code(holdfast_error_code(error));
}
