/* SPDX-License-Identifier: Apache-2.0
 * `holdfast store ...`, what goes through the API. Rescue and restore cannot (main.c hands them to holdfast-setup). */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"

static void add_snapshot(CliTable *table, const char *node, const json_t *snapshot)
{
    g_autofree char *revision = g_strdup_printf("%" G_GINT64_FORMAT, cli_number(snapshot, "revision"));
    g_autofree char *size = g_format_size_full((guint64) cli_number(snapshot, "size_bytes"), G_FORMAT_SIZE_IEC_UNITS);
    table_add(table, node, cli_text(snapshot, "at"), revision, size, cli_text(snapshot, "name"));
}

static void print_snapshots(const Cli *cli, const json_t *answers)
{
    g_autoptr(CliTable) table = table_new("NODE", "TIME", "REVISION", "SIZE", "FILE", NULL);
    for (size_t i = 0; i < json_array_size(answers); i++) {
        const json_t *answer = json_array_get(answers, i), *list = cli_get(answer, "snapshots");
        const char *node = cli_text(answer, "node"), *error = cli_text(answer, "error");
        for (size_t s = 0; s < json_array_size(list); s++) {
            add_snapshot(table, node, json_array_get(list, s));
        }
        if (error) {
            table_add(table, node, "-", "-", "-", error);
        } else if (!list) {
            add_snapshot(table, node, answer);
        }
    }
    g_autofree char *text = table_format(table, cli->colour);
    cli_print("%s", text);
}

static gboolean run_snapshots(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("store", "snapshots", NULL);
    g_autoptr(json_t) answers = cli_fetch(cli, path, error);
    if (answers && !cli_print_json(cli, answers)) {
        print_snapshots(cli, answers);
    }
    return answers != NULL;
}

static gboolean run_snapshot(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("store", "actions", "snapshot", NULL);
    g_autoptr(json_t) answers = cli_http_request(cli->http, "POST", path, NULL, error);
    if (!answers) {
        return FALSE;
    }
    if (!cli_print_json(cli, answers)) {
        print_snapshots(cli, answers);
    }
    for (size_t i = 0; i < json_array_size(answers); i++) {
        if (!cli_text(json_array_get(answers, i), "error")) {
            return TRUE;
        }
    }
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "no voter could take a snapshot");
    return FALSE;
}

/* A wrong word here lets an old list of nodes and guests loose on a running cluster: hence the name. */
static gboolean run_confirm(Cli *cli, GError **error)
{
    const char *name = cli_option(cli, "confirm");
    if (!name) {
        g_set_error_literal(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
            "--confirm: compare `holdfast node list`, `holdfast fence list` and `holdfast guest list` with "
            "the truth, then repeat with --confirm and the cluster's name");
        return FALSE;
    }
    g_autoptr(json_t) body = json_pack("{s:s}", "confirm", name);
    g_autofree char *path = cli_path("store", "actions", "confirm", NULL);
    g_autoptr(json_t) result = cli_http_request(cli->http, "POST", path, body, error);
    if (result && !cli_print_json(cli, result)) {
        cli_print("the store's nodes, fence devices and guests are followed again\n");
    }
    return result != NULL;
}

static const CliOption confirm_options[] = {
    {"confirm", '\0', CLI_OPTION_VALUE, "CLUSTER", "the cluster's name: I have compared the store with the truth"},
    {.name = NULL},
};

const CliCommand cli_store_commands[] = {
    {"store", "snapshots", "", 0, 0, NULL, "the snapshots of the store on its voters", run_snapshots},
    {"store", "snapshot", "", 0, 0, NULL, "take one now, on every voter", run_snapshot},
    {"store", "confirm", "", 0, 0, confirm_options, "after a rescue or restore: let the cluster follow the store again",
     run_confirm},
    {.noun = NULL},
};
