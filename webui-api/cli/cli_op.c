/* SPDX-License-Identifier: Apache-2.0
 * `holdfast op ...`: operations. */
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"
#include "webui-api/cli/wait.h"

#include <string.h>

static char *result_of(const json_t *operation)
{
    const char *state = cli_text(operation, "state"), *error = cli_text(operation, "error");
    if (g_strcmp0(state, "running") == 0) {
        return wait_progress_text(operation);
    }
    if (error && *error) {
        return g_strdup(error);
    }
    g_autofree char *duration = units_from_ms(cli_number(operation, "duration_ms"));
    return g_strdup_printf("took %s", duration);
}

static gboolean run_list(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("operations", NULL);
    g_autoptr(json_t) operations = cli_fetch(cli, path, error);
    if (!operations || cli_print_json(cli, operations)) {
        return operations != NULL;
    }
    g_autoptr(CliTable) table = table_new("ID", "KIND", "TARGET", "STATE", "CREATED", "RESULT", NULL);
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const json_t *operation = json_array_get(operations, i);
        g_autofree char *result = result_of(operation);
        table_add(table, cli_text(operation, "id"), cli_text(operation, "kind"), cli_text(operation, "target"),
                  cli_text(operation, "state"), cli_text(operation, "created_at"), result);
    }
    g_autofree char *text = table_format(table, cli->colour);
    cli_print("%s", text);
    return TRUE;
}

static gboolean run_show(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("operations", cli->words[0], NULL);
    g_autoptr(json_t) operation = cli_fetch(cli, path, error);
    if (!operation || cli_print_json(cli, operation)) {
        return operation != NULL;
    }
    g_autofree char *result = result_of(operation);
    cli_print_field("Operation", cli_text(operation, "id"));
    cli_print_field("Kind", cli_text(operation, "kind"));
    cli_print_field("Target", cli_text(operation, "target"));
    cli_print_field("Argument", cli_text(operation, "argument"));
    cli_print_field("State", cli_text(operation, "state"));
    cli_print_field("Result", result);
    cli_print_field("Driven by", cli_text(operation, "node"));
    cli_print_field("Created", cli_text(operation, "created_at"));
    cli_print_field("Ended", cli_text(operation, "ended_at"));
    if (cli_number(operation, "downtime_ms") > 0) {
        g_autofree char *downtime = units_from_ms(cli_number(operation, "downtime_ms"));
        cli_print_field("Paused for", downtime);
    }
    return TRUE;
}

static gboolean run_cancel(Cli *cli, GError **error)
{
    g_autofree char *path = cli_path("operations", cli->words[0], NULL);
    g_autoptr(json_t) operation = cli_http_request(cli->http, "DELETE", path, NULL, error);
    if (operation && !cli_print_json(cli, operation)) {
        gboolean running = g_strcmp0(cli_text(operation, "state"), "running") == 0;
        cli_print("operation %s %s\n", cli->words[0], running ? "is asked to stop" : "has ended");
    }
    return operation != NULL;
}

static gboolean run_wait(Cli *cli, GError **error)
{
    return wait_for(cli, cli->words[0], error);
}

const CliCommand cli_op_commands[] = {
    {"op", "list", "", 0, 0, NULL, "the operations of the last day", run_list},
    {"op", "show", "ID", 1, 1, NULL, "one operation in detail", run_show},
    {"op", "wait", "ID", 1, 1, NULL, "wait until it has ended; the exit status is its result", run_wait},
    {"op", "cancel", "ID", 1, 1, NULL, "ask it to stop", run_cancel},
    {.noun = NULL},
};
