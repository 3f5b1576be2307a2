/* SPDX-License-Identifier: Apache-2.0
 * Listeners and life of the HTTP server. One thread per connection: handlers may block on holdfastd (long polls,
 * events) without holding up anybody, and the connection limit bounds the memory. */
#include "webui-api/server/server.h"

#include "common/error.h"
#include "common/log.h"
#include "webui-api/server/request.h"
#include "webui-api/server/upload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

/* Idle limit; above the longest long poll, because MHD counts a blocked handler as idle time. */
#define IDLE_TIMEOUT_S 120u
#define THREAD_STACK_BYTES ((size_t) 1024 * 1024)
#define BACKLOG 64

struct ServerRun {
    Server server;
    RequestListener local, tcp;
    struct MHD_Daemon *daemons[2];
};

static int unix_socket_inherited(void)
{
    return sd_listen_fds(0) > 0 && sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) > 0
               ? SD_LISTEN_FDS_START
               : -1;
}

/* 0600 and ours: root and this uid get in; the peer's uid is checked again at every request. */
static int unix_socket_open(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "socket: path is too long: %s", path);
        return -1;
    }
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof address) == 0) {
        close(fd);
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "another holdfast-api serves %s already", path);
        return -1;
    }
    unlink(path);
    mode_t previous = umask(0177);
    gboolean ok = fd >= 0 && bind(fd, (struct sockaddr *) &address, sizeof address) == 0 && listen(fd, BACKLOG) == 0;
    int saved = errno;
    umask(previous);
    if (!ok) {
        if (fd >= 0) {
            close(fd);
        }
        holdfast_error_set_errno(error, saved, "cannot listen on %s", path);
        return -1;
    }
    return fd;
}

/* "127.0.0.1:7480". Only loopback: there is no TLS here, that is the edge's work. */
static gboolean address_parse(const char *text, struct sockaddr_in *out, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 2);
    guint64 port = 0;
    *out = (struct sockaddr_in){.sin_family = AF_INET};
    if (g_strv_length(parts) != 2 || inet_pton(AF_INET, parts[0], &out->sin_addr) != 1 ||
        !g_ascii_string_to_unsigned(parts[1], 10, 0, 65535, &port, NULL) ||
        (ntohl(out->sin_addr.s_addr) >> 24) != IN_LOOPBACKNET) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "listen: must be a loopback address like 127.0.0.1:7480, not '%s'", text);
        return FALSE;
    }
    out->sin_port = htons((guint16) port);
    return TRUE;
}

static int tcp_socket_open(const char *text, GError **error)
{
    struct sockaddr_in address;
    if (!address_parse(text, &address, error)) {
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    socklen_t length = sizeof address;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *) &address, sizeof address) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *) &address, &length) != 0) {
        int saved = errno;
        if (fd >= 0) {
            close(fd);
        }
        holdfast_error_set_errno(error, saved, "cannot listen on %s", text);
        return -1;
    }
    log_line(LOG_LEVEL_NOTICE, "listening on http://127.0.0.1:%d (bearer token)", ntohs(address.sin_port));
    return fd;
}

static struct MHD_Daemon *daemon_start(int fd, RequestListener *listener, GError **error)
{
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL, request_handle,
        listener, MHD_OPTION_LISTEN_SOCKET, (MHD_socket) fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned) SERVER_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S, MHD_OPTION_THREAD_STACK_SIZE,
        THREAD_STACK_BYTES, MHD_OPTION_UNESCAPE_CALLBACK, request_unescape_nothing, NULL, MHD_OPTION_NOTIFY_COMPLETED,
        request_completed, NULL, MHD_OPTION_END);
    if (!daemon) {
        close(fd);
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                            "the HTTP server could not be started (threads or memory?)");
    }
    return daemon;
}

static gboolean listeners_start(ServerRun *run, GError **error)
{
    const ServerOptions *options = run->server.options;
    int fd = unix_socket_inherited();
    if (fd >= 0 || strcmp(options->socket_path, "none") != 0) {
        fd = fd >= 0 ? fd : unix_socket_open(options->socket_path, error);
        run->daemons[0] = fd >= 0 ? daemon_start(fd, &run->local, error) : NULL;
        if (!run->daemons[0]) {
            return FALSE;
        }
    }
    if (strcmp(options->listen_address, "none") != 0) {
        fd = tcp_socket_open(options->listen_address, error);
        run->daemons[1] = fd >= 0 ? daemon_start(fd, &run->tcp, error) : NULL;
        if (!run->daemons[1]) {
            return FALSE;
        }
    }
    return TRUE;
}

ServerRun *server_start(const ServerOptions *options, GError **error)
{
    ServerRun *run = g_new0(ServerRun, 1);
    run->server.options = options;
    run->server.stop_fd = eventfd(0, EFD_CLOEXEC);
    run->server.agent = agent_client_new(options->agent_path, run->server.stop_fd);
    run->server.sweepers = upload_sweepers_new(&run->server);
    run->local = (RequestListener){.server = &run->server, .local = TRUE};
    run->tcp = (RequestListener){.server = &run->server, .local = FALSE};
    if (!listeners_start(run, error)) {
        server_stop(run);
        return NULL;
    }
    return run;
}

void server_stop(ServerRun *run)
{
    eventfd_write(run->server.stop_fd, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(run->daemons); i++) {
        if (run->daemons[i]) {
            MHD_stop_daemon(run->daemons[i]);
        }
    }
    g_thread_pool_free(run->server.sweepers, FALSE, TRUE);
    agent_client_free(run->server.agent);
    close(run->server.stop_fd);
    g_free(run);
}
