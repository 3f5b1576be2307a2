/* SPDX-License-Identifier: Apache-2.0
 * One HTTP request from its first byte to the answer. */
#pragma once

#include "webui-api/server/route.h"
#include "webui-api/server/server.h"

#include <microhttpd.h>

/* What a listener's requests have in common; the closure of request_handle(). */
typedef struct {
    Server *server;
    gboolean local; /* unix socket: known by uid. Otherwise: by bearer token */
} RequestListener;

typedef struct Upload Upload;

typedef struct {
    Server *server;
    struct MHD_Connection *connection;
    gboolean local;
    gint64 started_us;
    char *id;   /* X-Request-Id */
    char *user; /* who asks, for holdfastd's log */
    char *method, *path;
    const Route *route;
    GHashTable *variables;
    GString *body;
    guint64 received_bytes;
    gint64 content_length; /* -1: not said */
    Upload *upload;
    GError *refusal; /* decided before the body came; said when it has been read */
    guint refusal_status;
    char *allow;
} Request;

/* MHD callbacks. */
enum MHD_Result request_handle(void *listener, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *data, size_t *size, void **state);
void request_completed(void *closure, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code);
/* MHD's own decoding turns %00 into the end of the path, so it is off and route_unescape() does it. */
size_t request_unescape_nothing(void *closure, struct MHD_Connection *connection, char *text);

const char *request_header(const Request *request, const char *name);
/* Call the route's verb (or `verb`) for this request. */
json_t *request_call(const Request *request, const char *verb, json_t *arguments, int timeout_ms, GError **error);
/* Take one of the places for requests that wait; UNAVAILABLE when all are taken. Give it back with request_wait_end().
 */
gboolean request_wait_begin(Server *server, GError **error);
void request_wait_end(Server *server);
