/* SPDX-License-Identifier: Apache-2.0
 * The command line of holdfast-setup. */
#pragma once

#include "node-agent/setup/answers.h"

typedef enum {
    OPTIONS_INIT,
    OPTIONS_JOIN,
    OPTIONS_FIRST_BOOT,
    OPTIONS_STATUS,
    OPTIONS_RESET,
    OPTIONS_HELP
} OptionsVerb;

typedef struct {
    OptionsVerb verb;
    Answers *answers; /* init and join: checked */
} Options;

void options_clear(Options *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

/* INVALID: the text names the option and says what is right. */
gboolean options_parse(const SetupContext *context, int argc, char **argv, Options *ret, GError **error);
const char *options_help(void);
