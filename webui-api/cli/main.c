/* SPDX-License-Identifier: Apache-2.0
 * holdfast: the command line of a cluster. */
#include "common/error.h"
#include "webui-api/cli/cli.h"
#include "webui-api/cli/help.h"
#include "webui-api/cli/parse.h"

#include <curl/curl.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_API "unix:/run/holdfast/api.sock"

/* These change this machine, not the cluster behind an API: they belong to the setup program as they stand. */
static gboolean is_setup(char *const *arguments)
{
    static const char *const of_store[] = {"rescue", "restore", "leave", "rejoin", NULL};
    const char *noun = arguments[0], *verb = noun ? arguments[1] : NULL;
    return noun && (strcmp(noun, "init") == 0 || strcmp(noun, "join") == 0 ||
                    (strcmp(noun, "store") == 0 && verb && g_strv_contains(of_store, verb)));
}

static int run_setup(char **argv)
{
    execv("/usr/lib/holdfast/holdfast-setup", argv);
    fprintf(stderr, "holdfast: cannot start /usr/lib/holdfast/holdfast-setup: %s\n", g_strerror(errno));
    return holdfast_error_exit_code(HOLDFAST_ERROR_FAILED);
}

static gboolean show_help(const Cli *cli, GError **error)
{
    const char *noun = cli->words ? cli->words[0] : NULL;
    g_autofree char *text = cli->command ? help_command(cli->command) : help_commands(noun);
    if (!text) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "there is no command '%s'; see `holdfast help`",
                    noun);
        return FALSE;
    }
    fputs(text, stdout);
    return TRUE;
}

static gboolean run(Cli *cli, char **arguments, GError **error)
{
    if (!parse_command_line(arguments, cli, error)) {
        return FALSE;
    }
    if (cli->help) {
        return show_help(cli, error);
    }
    const char *address = g_getenv("HOLDFAST_API");
    cli->http = cli_http_new(address && *address ? address : DEFAULT_API, g_getenv("HOLDFAST_TOKEN"), error);
    return cli->http && cli->command->run(cli, error);
}

static void print_error(const GError *error)
{
    g_autofree char *text = g_strdup(error->message);
    g_strdelimit(text, "\033\r", ' ');
    fprintf(stderr, "holdfast: %s\n", text);
}

int main(int argc, char **argv)
{
    (void) argc;
    setlocale(LC_ALL, "");
    if (is_setup(argv + 1)) {
        return run_setup(argv);
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    const char *no_colour = g_getenv("NO_COLOR");
    Cli cli = {.colour = isatty(STDOUT_FILENO) && !(no_colour && *no_colour), .progress = isatty(STDERR_FILENO)};
    g_autoptr(GError) error = NULL;
    int code = 0;
    if (!run(&cli, argv + 1, &error)) {
        fflush(stdout);
        print_error(error);
        code = holdfast_error_exit_code(holdfast_error_code(error));
    }
    if (fflush(stdout) != 0 && code == 0) {
        fprintf(stderr, "holdfast: cannot write the output: %s\n", g_strerror(errno));
        code = holdfast_error_exit_code(HOLDFAST_ERROR_FAILED);
    }
    cli_http_free(cli.http);
    parse_clear(&cli);
    curl_global_cleanup();
    return code;
}
