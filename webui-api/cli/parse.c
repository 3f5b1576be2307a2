/* SPDX-License-Identifier: Apache-2.0
 * Command line parsing from the command table. */
#include "webui-api/cli/parse.h"

#include "common/error.h"

#include <string.h>

const CliOption cli_common_options[] = {
    {"output", 'o', CLI_OPTION_VALUE, "table|wide|json", "how to print the result"},
    {"json", '\0', CLI_OPTION_FLAG, NULL, "the same as --output json"},
    {"wait", '\0', CLI_OPTION_FLAG, NULL, "wait until an operation has ended (the default)"},
    {"no-wait", '\0', CLI_OPTION_FLAG, NULL, "only start an operation and print its id"},
    {"help", 'h', CLI_OPTION_FLAG, NULL, "explain the command"},
    {.name = NULL},
};

static gboolean invalid(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static gboolean invalid(GError **error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, text);
    return FALSE;
}

static const CliCommand *command_find(const char *noun, const char *verb, gboolean *ret_noun_known)
{
    for (const CliCommand *const *table = cli_command_tables(); *table; table++) {
        for (const CliCommand *command = *table; command->noun; command++) {
            if (strcmp(command->noun, noun) != 0) {
                continue;
            }
            *ret_noun_known = TRUE;
            if (!command->verb || (verb && strcmp(command->verb, verb) == 0)) {
                return command;
            }
        }
    }
    return NULL;
}

static const CliOption *option_find(const CliOption *options, const char *name, gsize length, char letter)
{
    for (; options && options->name; options++) {
        if (name ? strlen(options->name) == length && strncmp(options->name, name, length) == 0
                 : options->letter == letter && letter != '\0') {
            return options;
        }
    }
    return NULL;
}

static const CliOption *option_of(const CliCommand *command, const char *name, gsize length, char letter)
{
    const CliOption *option = option_find(cli_common_options, name, length, letter);
    return option || !command ? option : option_find(command->options, name, length, letter);
}

static gboolean option_add(Cli *cli, const CliOption *option, const char *value, GError **error)
{
    GPtrArray *values = g_hash_table_lookup(cli->options, option->name);
    if (values && option->kind == CLI_OPTION_VALUE) {
        return invalid(error, "--%s is given twice", option->name);
    }
    if (!values) {
        values = g_ptr_array_new_with_free_func(g_free);
        g_hash_table_insert(cli->options, (gpointer) option->name, values);
    }
    g_ptr_array_add(values, g_strdup(value ? value : ""));
    return TRUE;
}

/* Take the option at arguments[*i], and its value, which may be the next argument. */
static gboolean option_take(Cli *cli, char *const *arguments, guint *i, GError **error)
{
    const char *text = arguments[*i];
    gboolean is_long = g_str_has_prefix(text, "--");
    const char *equals = is_long ? strchr(text, '=') : NULL;
    gsize length = equals ? (gsize) (equals - text) : strlen(text);
    const CliOption *option = is_long ? option_of(cli->command, text + 2, length - 2, '\0')
                                      : option_of(cli->command, NULL, 0, length == 2 ? text[1] : '\0');
    if (!option) {
        return invalid(error, "%.*s is not an option here; see `holdfast %s%s%s --help`", (int) length, text,
                       cli->command ? cli->command->noun : "", cli->command && cli->command->verb ? " " : "",
                       cli->command && cli->command->verb ? cli->command->verb : "");
    }
    if (option->kind == CLI_OPTION_FLAG) {
        return equals ? invalid(error, "--%s takes no value", option->name) : option_add(cli, option, NULL, error);
    }
    const char *value = equals ? equals + 1 : arguments[*i + 1];
    if (!value) {
        return invalid(error, "--%s needs a value: %s", option->name, option->metavar);
    }
    *i += equals ? 0 : 1;
    return option_add(cli, option, value, error);
}

static gboolean take_arguments(Cli *cli, char *const *arguments, GError **error)
{
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();
    gboolean only_words = FALSE;
    for (guint i = 0; arguments[i]; i++) {
        if (!only_words && strcmp(arguments[i], "--") == 0) {
            only_words = TRUE;
        } else if (!only_words && arguments[i][0] == '-' && arguments[i][1] != '\0') {
            if (!option_take(cli, arguments, &i, error)) {
                return FALSE;
            }
        } else {
            g_strv_builder_add(words, arguments[i]);
        }
    }
    cli->words = g_strv_builder_end(words);
    return TRUE;
}

static gboolean take_common(Cli *cli, GError **error)
{
    static const char *const names[] = {"table", "wide", "json"};
    const char *output = cli_flag(cli, "json") ? "json" : cli_option(cli, "output");
    cli->help = cli_flag(cli, "help");
    cli->wait = !cli_flag(cli, "no-wait");
    if (!cli->wait && cli_flag(cli, "wait")) {
        return invalid(error, "--wait and --no-wait contradict each other");
    }
    for (guint i = 0; output && i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i], output) == 0) {
            cli->output = (CliOutput) i;
            return TRUE;
        }
    }
    return output ? invalid(error, "--output: must be table, wide or json, not '%s'", output) : TRUE;
}

static gboolean check_words(const Cli *cli, GError **error)
{
    const CliCommand *command = cli->command;
    guint n = g_strv_length(cli->words);
    if (cli->help || (n >= command->min_words && n <= command->max_words)) {
        return TRUE;
    }
    const char *separator = command->verb ? " " : "", *verb = command->verb ? command->verb : "";
    if (n > command->max_words) {
        return invalid(error, "'%s' is one word too many; usage: holdfast %s%s%s %s", cli->words[command->max_words],
                       command->noun, separator, verb, command->words);
    }
    return invalid(error, "something is missing; usage: holdfast %s%s%s %s", command->noun, separator, verb,
                   command->words);
}

gboolean parse_command_line(char *const *arguments, Cli *out, GError **error)
{
    out->options = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify) g_ptr_array_unref);
    const char *noun = arguments[0];
    if (!noun || strcmp(noun, "help") == 0 || noun[0] == '-') {
        out->help = TRUE;
        out->words = g_strdupv((char **) (noun && noun[0] != '-' ? arguments + 1 : (char *[]){NULL}));
        return TRUE;
    }
    gboolean noun_known = FALSE;
    out->command = command_find(noun, arguments[1], &noun_known);
    if (!out->command) {
        const char *verb = arguments[1];
        if (noun_known && (!verb || verb[0] == '-')) {
            out->help = TRUE;
            out->words = g_strdupv((char *[]){(char *) noun, NULL});
            return TRUE;
        }
        return noun_known ? invalid(error, "'%s' cannot be done with a %s; see `holdfast help %s`", verb, noun, noun)
                          : invalid(error, "there is no command '%s'; see `holdfast help`", noun);
    }
    return take_arguments(out, arguments + (out->command->verb ? 2 : 1), error) && take_common(out, error) &&
           check_words(out, error);
}

void parse_clear(Cli *cli)
{
    g_clear_pointer(&cli->options, g_hash_table_unref);
    g_clear_pointer(&cli->words, g_strfreev);
}
