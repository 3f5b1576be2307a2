/* SPDX-License-Identifier: Apache-2.0
 * `holdfast events`. */
#include "webui-api/cli/cli.h"

#include <stdio.h>
#include <string.h>

static void print_event(const Cli *cli, const json_t *event)
{
    if (cli->output == CLI_OUTPUT_JSON) {
        g_autofree char *line = json_text_from(event);
        printf("%s\n", line);
    } else {
        const char *time = cli_text(event, "time"), *kind = cli_text(event, "kind"),
                   *object = cli_text(event, "object");
        const char *text = cli_text(event, "text"), *node = cli_text(event, "node");
        g_autofree char *clean = g_strdup(text ? text : "");
        g_strdelimit(clean, "\033\n", ' ');
        cli_print("%-24s  %-4s %-18s %-20s %s\n", time ? time : "-", node ? node : "-", kind ? kind : "-",
                  object ? object : "-", clean);
    }
    fflush(stdout);
}

static gboolean on_line(const char *line, gpointer user_data)
{
    if (g_str_has_prefix(line, "data:")) {
        g_autoptr(json_t) event = json_text_parse(line + strlen("data:"), -1, "event", NULL);
        if (event) {
            print_event(user_data, event);
        }
    }
    return !ferror(stdout);
}

static gboolean run_events(Cli *cli, GError **error)
{
    const char *since = cli_option(cli, "since");
    g_autofree char *base = cli_path("events", NULL);
    g_autofree char *escaped = since ? g_uri_escape_string(since, NULL, FALSE) : NULL;
    g_autofree char *path = g_strconcat(base, since ? "?since=" : "", since ? escaped : "", NULL);
    if (cli_flag(cli, "follow")) {
        return cli_http_stream(cli->http, path, on_line, cli, error);
    }
    g_autoptr(json_t) events = cli_fetch(cli, path, error);
    for (size_t i = 0; i < json_array_size(events); i++) {
        print_event(cli, json_array_get(events, i));
    }
    return events != NULL;
}

static const CliOption options[] = {
    {"follow", 'f', CLI_OPTION_FLAG, NULL, "go on with what happens from now on"},
    {"since", '\0', CLI_OPTION_VALUE, "INDEX", "only events after this one"},
    {.name = NULL},
};

const CliCommand cli_events_commands[] = {
    {"events", NULL, "", 0, 0, options, "what happened (with --json: one object a line)", run_events},
    {.noun = NULL},
};
