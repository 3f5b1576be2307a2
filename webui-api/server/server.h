/* SPDX-License-Identifier: Apache-2.0
 * The HTTP server: its two listeners and what every request may use. */
#pragma once

#include "webui-api/server/agent_client.h"

#include <glib.h>

typedef struct {
    char *socket_path;    /* "none": no unix listener. A socket passed by systemd wins */
    char *listen_address; /* "127.0.0.1:7480"; port 0 picks one; "none": no TCP */
    char *agent_path;
    char *token_path;
    char *spool_path;
} ServerOptions;

/* Shared by all request threads; nothing but the counters changes after the start. */
typedef struct {
    const ServerOptions *options;
    int stop_fd; /* eventfd, readable from the moment the server stops */
    AgentClient *agent;
    GThreadPool *sweepers; /* remove spool files whose import ended */
    gint waiting;          /* requests that wait for something to happen: long polls and event streams */
    gint uploads;
} Server;

/* Per listener; each is a thread, so the unit's TasksMax must be above twice this. */
#define SERVER_CONNECTIONS_MAX 128
/* At most so many requests wait, each on a connection to holdfastd, which takes 64: short requests always find a place.
 */
#define SERVER_WAITING_MAX 48
#define SERVER_UPLOADS_MAX 4

typedef struct ServerRun ServerRun;

/* Open the listeners and serve in threads of their own. `options` must outlive the result. */
ServerRun *server_start(const ServerOptions *options, GError **error);
/* Ends every wait, every connection, and the threads. */
void server_stop(ServerRun *run);
