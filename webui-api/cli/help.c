/* SPDX-License-Identifier: Apache-2.0
 * Help texts. */
#include "webui-api/cli/help.h"

#include "webui-api/cli/parse.h"

#include <string.h>

#define SYNOPSIS_WIDTH 40

static char *synopsis(const CliCommand *command)
{
    return g_strdup_printf("%s%s%s %s%s", command->noun, command->verb ? " " : "", command->verb ? command->verb : "",
                           command->words, command->options ? (*command->words ? " [OPTIONS]" : "[OPTIONS]") : "");
}

static void append_line(GString *text, const char *left, const char *right, int width)
{
    if ((int) strlen(left) > width) {
        g_string_append_printf(text, "  %s\n  %-*s  %s\n", left, width, "", right);
    } else {
        g_string_append_printf(text, "  %-*s  %s\n", width, left, right);
    }
}

static void append_options(GString *text, const CliOption *options)
{
    for (; options && options->name; options++) {
        g_autofree char *letter = options->letter ? g_strdup_printf("-%c, ", options->letter) : g_strdup("    ");
        g_autofree char *left = g_strdup_printf("%s--%s%s%s", letter, options->name, options->metavar ? " " : "",
                                                options->metavar ? options->metavar : "");
        g_autofree char *right =
            g_strconcat(options->help, options->kind == CLI_OPTION_REPEATED ? " (repeatable)" : "", NULL);
        append_line(text, left, right, SYNOPSIS_WIDTH - 4);
    }
}

char *help_commands(const char *noun)
{
    GString *text = g_string_new("Usage: holdfast COMMAND [ARGUMENTS] [OPTIONS]\n\n");
    gboolean any = FALSE;
    for (const CliCommand *const *table = cli_command_tables(); *table; table++) {
        for (const CliCommand *command = *table; command->noun; command++) {
            if (noun && strcmp(command->noun, noun) != 0) {
                continue;
            }
            g_autofree char *left = synopsis(command);
            append_line(text, left, command->summary, SYNOPSIS_WIDTH);
            any = TRUE;
        }
    }
    if (!any) {
        g_string_free(text, TRUE);
        return NULL;
    }
    g_string_append(text, "\nOptions of every command:\n");
    append_options(text, cli_common_options);
    g_string_append(text, "\ninit, join, and store rescue, restore, leave and rejoin change the node they are run on:\n"
                          "see `/usr/lib/holdfast/holdfast-setup help`.\n");
    g_string_append(
        text, "\nHOLDFAST_API (unix:/path, http://host:port) and HOLDFAST_TOKEN say which API to ask.\n"
              "Exit status: 0 done, 1 failed, 2 wrong input, 3 not found, 4 exists, 5 changed meanwhile, 6 busy,\n"
              "7 unavailable, 8 timeout, 9 refused, 10 no space, 11 unsupported, 12 cancelled, 13 denied.\n");
    return g_string_free(text, FALSE);
}

char *help_command(const CliCommand *command)
{
    g_autofree char *line = synopsis(command);
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "Usage: holdfast %s\n\n%s\n\nOptions:\n", line, command->summary);
    append_options(text, command->options);
    append_options(text, cli_common_options);
    return g_string_free(text, FALSE);
}
