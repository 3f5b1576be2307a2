/* SPDX-License-Identifier: Apache-2.0
 * `holdfast fence ...`. */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/view.h"

#include <string.h>

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("fencing", NULL);
    g_autoptr(json_t) devices = cli_fetch(cli, path, error);
    if (!devices || cli_print_json(cli, devices)) {
        return devices != NULL;
    }
    g_autoptr(CliTable) table = table_new("NODE", "FENCING", "AGENT", "PROVEN AT", NULL);
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const json_t *device = json_array_get(devices, i);
        g_autofree char *fencing = view_fencing(device);
        table_add(table, cli_text(device, "node"), fencing, cli_text(device, "agent"), cli_text(device, "proven_at"));
    }
    g_autofree char *text = table_format(table, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static json_t *parse_parameters(char *const *words, GError **error)
{
    g_autoptr(json_t) parameters = json_object();
    for (; *words; words++) {
        const char *equals = strchr(*words, '=');
        if (!equals || equals == *words) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "key=value: must be like ip=10.0.0.5, not '%s'",
                        *words);
            return NULL;
        }
        g_autofree char *key = g_strndup(*words, (gsize) (equals - *words));
        json_object_set_new(parameters, key, json_string(equals + 1));
    }
    return g_steal_pointer(&parameters);
}

static gboolean run_set(Cli *cli, GError **error)
{
    json_t *parameters = parse_parameters(cli->words + 2, error);
    if (!parameters) {
        return FALSE;
    }
    g_autoptr(json_t) body = json_pack("{s:s, s:o}", "agent", cli->words[1], "parameters", parameters);
    g_autofree char *path = cli_path("fencing", cli->words[0], NULL);
    g_autoptr(json_t) result = cli_http_request(cli->http, "PUT", path, body, error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("fence device of %s is set and unproven: `holdfast fence prove %s` powers it off and on once\n",
                  cli->words[0], cli->words[0]);
    }
    return result != NULL;
}

static gboolean run_prove(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("fencing", cli->words[0], "actions", "prove", NULL);
    return cli_operate(cli, "POST", path, NULL, error);
}

/* Saying that a running node is off corrupts nothing only if it is true: hence the name a second time. */
static gboolean run_confirm(Cli *cli, GError **error)
{
    if (g_strcmp0(cli_option(cli, "confirm"), cli->words[0]) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "--confirm: switch %s off at its power, see that it is off, then repeat with --confirm %s",
                    cli->words[0], cli->words[0]);
        return FALSE;
    }
    g_autoptr(json_t) body = json_pack("{s:s}", "confirm", cli->words[0]);
    g_autofree char *path = cli_path("fencing", cli->words[0], "actions", "confirm", NULL);
    g_autoptr(json_t) result = cli_http_request(cli->http, "POST", path, body, error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("%s counts as switched off; its guests may start elsewhere\n", cli->words[0]);
    }
    return result != NULL;
}

static const CliOption confirm_options[] = {
    {"confirm", '\0', CLI_OPTION_VALUE, "NODE", "the node's name again: I have seen that it is off"},
    {.name = NULL},
};

const CliCommand cli_fence_commands[] = {
    {"fence", "list", "", 0, 0, NULL, "the fence devices and when they were proven", run_list},
    {"fence", "set", "NODE AGENT [key=value...]", 2, 64, NULL, "say how a node is switched off", run_set},
    {"fence", "prove", "NODE", 1, 1, NULL, "switch the node off and on once, to know that it works", run_prove},
    {"fence", "confirm", "NODE", 1, 1, confirm_options, "say that a dead node is off, after looking", run_confirm},
    {.noun = NULL},
};
