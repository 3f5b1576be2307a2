/* SPDX-License-Identifier: Apache-2.0
 * Commands that are no noun of the cluster: token, api; init and join are listed for help only, main() hands them over.
 */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/table.h"

#include <stdio.h>
#include <string.h>

static gboolean run_token_create(Cli *cli, GError **error)
{
    const char *text = cli_option(cli, "ttl");
    gint64 ttl_s = 0;
    if (text && !g_ascii_string_to_signed(text, 10, 60, 7 * 86400, &ttl_s, NULL)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "--ttl: must be 60 to 604800 seconds, not '%s'",
                    text);
        return FALSE;
    }
    g_autoptr(json_t) body = text ? json_pack("{s:I}", "ttl_s", (json_int_t) ttl_s) : json_object();
    g_autofree char *path = cli_path("tokens", NULL);
    g_autoptr(json_t) token = cli_http_request(cli->http, "POST", path, body, error);
    if (token && !cli_print_json(cli, token)) {
        g_autofree char *valid = units_from_ms(cli_number(token, "expires_s") * 1000);
        cli_print("%s\n", cli_text(token, "token"));
        fprintf(stderr, "Good for one node, for %s: run `holdfast join` with it there.\n", valid);
    }
    return token != NULL;
}

static gboolean run_api(Cli *cli, GError **error)
{
    g_autofree char *method = g_ascii_strup(cli->words[0], -1);
    const char *path = cli->words[1], *text = cli->words[2];
    if (path[0] != '/') {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "PATH: must begin with '/', like /api/v1/status, not '%s'", path);
        return FALSE;
    }
    g_autoptr(json_t) body = text ? json_text_parse(text, -1, "BODY", error) : NULL;
    if (text && !body) {
        return FALSE;
    }
    g_autoptr(json_t) answer = cli_http_request(cli->http, method, path, body, error);
    if (answer) {
        cli->output = CLI_OUTPUT_JSON;
        cli_print_json(cli, answer);
    }
    return answer != NULL;
}

static const CliOption token_options[] = {
    {"ttl", '\0', CLI_OPTION_VALUE, "SECONDS", "how long it is good for"},
    {.name = NULL},
};

const CliCommand cli_other_commands[] = {
    {"token", "create", "", 0, 0, token_options, "a one-time token with which a node joins", run_token_create},
    {"api", NULL, "METHOD PATH [BODY]", 2, 3, NULL, "call the REST API and print the answer", run_api},
    {"init", NULL, "[ARGUMENTS]", 0, 64, NULL, "make this machine the first node of a new cluster", NULL},
    {"join", NULL, "[ARGUMENTS]", 0, 64, NULL, "make this machine a node of a cluster", NULL},
    {.noun = NULL},
};
