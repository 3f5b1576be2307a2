/* SPDX-License-Identifier: Apache-2.0
 * Helpers shared by the commands. */
#include "webui-api/cli/cli.h"

#include "common/error.h"
#include "webui-api/cli/wait.h"

#include <stdio.h>
#include <string.h>

static const CliCommand *const tables[] = {
    cli_status_commands,
    cli_node_commands,
    cli_guest_commands,
    cli_volume_commands,
    cli_image_commands,
    cli_network_commands,
    cli_fence_commands,
    cli_op_commands,
    cli_events_commands,
    cli_incident_commands,
    cli_store_commands,
    cli_other_commands,
    NULL,
};

const CliCommand *const *cli_command_tables(void)
{
    return tables;
}

const GPtrArray *cli_option_all(const Cli *cli, const char *name)
{
    return g_hash_table_lookup(cli->options, name);
}

const char *cli_option(const Cli *cli, const char *name)
{
    const GPtrArray *values = cli_option_all(cli, name);
    return values ? values->pdata[values->len - 1] : NULL;
}

gboolean cli_flag(const Cli *cli, const char *name)
{
    return cli_option_all(cli, name) != NULL;
}

char *cli_path(const char *first, ...)
{
    GString *path = g_string_new("/api/v1");
    va_list parts;
    va_start(parts, first);
    for (const char *part = first; part; part = va_arg(parts, const char *)) {
        g_autofree char *escaped = g_uri_escape_string(part, NULL, FALSE);
        g_string_append_printf(path, "/%s", escaped);
    }
    va_end(parts);
    return g_string_free(path, FALSE);
}

const json_t *cli_get(const json_t *object, const char *dotted)
{
    g_auto(GStrv) names = g_strsplit(dotted, ".", -1);
    for (guint i = 0; names[i] && object; i++) {
        object = json_object_get(object, names[i]);
    }
    return object;
}

const char *cli_text(const json_t *object, const char *dotted)
{
    return json_string_value(cli_get(object, dotted));
}

gint64 cli_number(const json_t *object, const char *dotted)
{
    return json_integer_value(cli_get(object, dotted));
}

gboolean cli_true(const json_t *object, const char *dotted)
{
    return json_is_true(cli_get(object, dotted));
}

char *cli_join(const json_t *array)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *item = json_string_value(json_array_get(array, i));
        g_string_append_printf(text, "%s%s", text->len ? ", " : "", item ? item : "?");
    }
    return g_string_free(text, text->len == 0);
}

void cli_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++) {
        /* Escape sequences of the tables' own colours pass: their cells were cleaned before. */
        if (g_ascii_iscntrl(*c) && *c != '\n' && *c != '\033') {
            *c = '?';
        }
    }
    fputs(text, stdout);
}

gboolean cli_print_json(const Cli *cli, const json_t *value)
{
    if (cli->output != CLI_OUTPUT_JSON) {
        return FALSE;
    }
    json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    fputc('\n', stdout);
    return TRUE;
}

void cli_print_field(const char *label, const char *text)
{
    g_autofree char *clean = g_strdup(text && *text ? text : "-");
    g_strdelimit(clean, "\033\n", '?');
    g_autofree char *name = g_strconcat(label, ":", NULL);
    cli_print("%-13s %s\n", name, clean);
}

json_t *cli_fetch(Cli *cli, const char *path, GError **error)
{
    return cli_http_request(cli->http, "GET", path, NULL, error);
}

gboolean cli_operate(Cli *cli, const char *method, const char *path, const json_t *body, GError **error)
{
    g_autoptr(json_t) operation = cli_http_request(cli->http, method, path, body, error);
    return operation && wait_finish(cli, operation, error);
}
