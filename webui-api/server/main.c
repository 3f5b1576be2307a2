/* SPDX-License-Identifier: Apache-2.0
 * holdfast-api: the unprivileged process between HTTP and holdfastd's socket. */
#include "common/error.h"
#include "common/log.h"
#include "webui-api/server/server.h"

#include <jansson.h>
#include <locale.h>
#include <signal.h>
#include <systemd/sd-daemon.h>

static gboolean options_parse(ServerOptions *options, int *argc, char ***argv, GError **error)
{
    const GOptionEntry entries[] = {
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &options->socket_path, "Unix socket for root (\"none\": no)", "PATH"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &options->listen_address, "Loopback address (\"none\": no)",
         "ADDRESS:PORT"},
        {"agent", 0, 0, G_OPTION_ARG_FILENAME, &options->agent_path, "holdfastd's socket", "PATH"},
        {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &options->token_path, "Bearer token for TCP clients", "PATH"},
        {"spool", 0, 0, G_OPTION_ARG_FILENAME, &options->spool_path, "Folder for uploads", "PATH"},
        {NULL, 0, 0, 0, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- Holdfast's REST API");
    g_option_context_add_main_entries(context, entries, NULL);
    return g_option_context_parse(context, argc, argv, error);
}

static void default_to(char **option, const char *value)
{
    if (!*option) {
        *option = g_strdup(value);
    }
}

static void options_default(ServerOptions *options)
{
    default_to(&options->socket_path, "/run/holdfast/api.sock");
    default_to(&options->listen_address, "127.0.0.1:7480");
    default_to(&options->agent_path, "/run/holdfast/agent.sock");
    default_to(&options->token_path, "/etc/holdfast/api-token");
    default_to(&options->spool_path, "/var/lib/holdfast/spool");
}

static void options_clear(ServerOptions *options)
{
    g_free(options->socket_path);
    g_free(options->listen_address);
    g_free(options->agent_path);
    g_free(options->token_path);
    g_free(options->spool_path);
}

static int serve(const ServerOptions *options)
{
    g_autoptr(GError) error = NULL;
    ServerRun *run = server_start(options, &error);
    if (!run) {
        log_line(LOG_LEVEL_ERROR, "%s", error->message);
        return holdfast_error_exit_code(holdfast_error_code(error));
    }
    log_line(LOG_LEVEL_NOTICE, "ready (socket %s, agent %s)", options->socket_path, options->agent_path);
    sd_notify(0, "READY=1\nSTATUS=serving");
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int number = 0;
    sigwait(&signals, &number);
    sd_notify(0, "STOPPING=1");
    log_line(LOG_LEVEL_NOTICE, "stopping");
    server_stop(run);
    return 0;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "C.UTF-8");
    json_object_seed(0);
    signal(SIGPIPE, SIG_IGN);
    /* Blocked before the first thread exists, so that only sigwait() sees them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);

    ServerOptions options = {0};
    g_autoptr(GError) error = NULL;
    int code = 0;
    if (options_parse(&options, &argc, &argv, &error)) {
        options_default(&options);
        code = serve(&options);
    } else {
        log_line(LOG_LEVEL_ERROR, "%s", error->message);
        code = holdfast_error_exit_code(HOLDFAST_ERROR_INVALID);
    }
    options_clear(&options);
    return code;
}
