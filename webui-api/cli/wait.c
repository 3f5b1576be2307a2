/* SPDX-License-Identifier: Apache-2.0
 * Waiting for operations. The operation lives in the cluster: neither Ctrl-C nor a restart of the API ends it. */
#include "webui-api/cli/wait.h"

#include "common/error.h"
#include "webui-api/cli/table.h"

#include <stdio.h>
#include <string.h>

#define POLL_S "1"
#define RETRY_MS 1000
#define RETRIES_MAX 60

char *wait_progress_text(const json_t *operation)
{
    const char *stage = cli_text(operation, "stage");
    gint64 done = cli_number(operation, "done"), total = cli_number(operation, "total");
    const char *unit = cli_text(operation, "unit");
    if (total <= 0) {
        return g_strdup(stage && *stage ? stage : "working");
    }
    return g_strdup_printf(
        "%s %d %% (%" G_GINT64_FORMAT " of %" G_GINT64_FORMAT "%s%s)", stage && *stage ? stage : "working",
        (int) (CLAMP((double) done / (double) total, 0, 1) * 100), done, total, unit ? " " : "", unit ? unit : "");
}

/* A terminal sees one line that changes; a log file sees each stage once. */
static void show_progress(const Cli *cli, const json_t *operation, char **shown)
{
    g_autofree char *text = wait_progress_text(operation);
    g_strdelimit(text, "\033\r\n", ' ');
    if (cli->progress) {
        fprintf(stderr, "\r\033[K%s: %s", cli_text(operation, "target"), text);
        return;
    }
    const char *stage = cli_text(operation, "stage");
    if (stage && *stage && g_strcmp0(stage, *shown) != 0) {
        fprintf(stderr, "%s: %s\n", cli_text(operation, "target"), text);
        g_free(*shown);
        *shown = g_strdup(stage);
    }
}

static gboolean interrupted(const char *id, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                "no longer waiting; the operation goes on. Look with `holdfast op show %s`, wait with `holdfast op "
                "wait %s`, stop it "
                "with `holdfast op cancel %s`",
                id, id, id);
    return FALSE;
}

/* The operation in a terminal state; caller owns. The API being away for a while does not end the wait. */
static json_t *wait_until_ended(Cli *cli, const char *id, GError **error)
{
    g_autofree char *base = cli_path("operations", id, NULL);
    g_autofree char *path = g_strconcat(base, "?wait=" POLL_S, NULL);
    g_autofree char *shown = NULL;
    int retries = 0;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        g_autoptr(json_t) operation = cli_fetch(cli, path, &problem);
        if (cli_http_interrupted(cli->http)) {
            interrupted(id, error);
            return NULL;
        }
        if (operation && g_strcmp0(cli_text(operation, "state"), "running") != 0) {
            return g_steal_pointer(&operation);
        }
        if (operation) {
            retries = 0;
            show_progress(cli, operation, &shown);
            /* Also against an agent that answers a wait at once. */
            cli_http_pause(cli->http, 200);
            continue;
        }
        if (holdfast_error_code(problem) != HOLDFAST_ERROR_UNAVAILABLE || ++retries > RETRIES_MAX) {
            g_propagate_prefixed_error(error, g_steal_pointer(&problem), "operation %s: ", id);
            return NULL;
        }
        cli_http_pause(cli->http, RETRY_MS);
    }
}

static gboolean ended_well(const Cli *cli, const json_t *operation, GError **error)
{
    const char *state = cli_text(operation, "state"), *text = cli_text(operation, "error");
    if (g_strcmp0(state, "succeeded") == 0) {
        g_autofree char *duration = units_from_ms(cli_number(operation, "duration_ms"));
        if (cli->output != CLI_OUTPUT_JSON) {
            cli_print("%s %s: done in %s", cli_text(operation, "kind"), cli_text(operation, "target"), duration);
            if (cli_number(operation, "downtime_ms") > 0) {
                cli_print(", paused for %" G_GINT64_FORMAT " ms", cli_number(operation, "downtime_ms"));
            }
            cli_print("\n");
        }
        return TRUE;
    }
    gboolean cancelled = g_strcmp0(state, "cancelled") == 0;
    int code = cancelled ? HOLDFAST_ERROR_CANCELLED : holdfast_error_from_name(cli_text(operation, "error_code"));
    g_set_error(error, HOLDFAST_ERROR, code, "%s %s %s%s%s", cli_text(operation, "kind"), cli_text(operation, "target"),
                cancelled ? "was cancelled" : "failed", text && *text ? ": " : "", text ? text : "");
    return FALSE;
}

gboolean wait_for(Cli *cli, const char *id, GError **error)
{
    g_autoptr(json_t) ended = wait_until_ended(cli, id, error);
    if (cli->progress) {
        fputs("\r\033[K", stderr);
    }
    if (!ended) {
        return FALSE;
    }
    cli_print_json(cli, ended);
    return ended_well(cli, ended, error);
}

gboolean wait_finish(Cli *cli, const json_t *operation, GError **error)
{
    const char *id = cli_text(operation, "id");
    if (!id) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                            "the API did not name the operation: are both sides of one version?");
        return FALSE;
    }
    if (cli->wait) {
        return wait_for(cli, id, error);
    }
    if (!cli_print_json(cli, operation)) {
        cli_print("%s\n", id);
    }
    return TRUE;
}
