/* SPDX-License-Identifier: Apache-2.0
 * Queueing answers. Every mutation and every failure leaves one log line with the request's id. */
#include "webui-api/server/response.h"

#include "common/error.h"
#include "common/log.h"
#include "webui-api/server/problem.h"

#include <string.h>

static void log_request(const Request *request, guint status)
{
    gboolean reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (reads && status < 500) {
        return;
    }
    g_autofree char *path = g_strescape(request->path, NULL);
    g_autofree char *method = g_strescape(request->method, NULL);
    log_line(status >= 500 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
             "%s %s -> %u (user %s, %" G_GINT64_FORMAT " ms, request %s)", method, path, status,
             request->user ? request->user : "-", (g_get_monotonic_time() - request->started_us) / 1000, request->id);
}

enum MHD_Result response_queue(const Request *request, guint status, struct MHD_Response *response)
{
    MHD_add_response_header(response, "X-Request-Id", request->id);
    /* Every answer shows a moment; an ETag is for conditional requests of API clients, not for caches. */
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    enum MHD_Result queued = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    log_request(request, status);
    return queued;
}

static struct MHD_Response *response_from(const json_t *body, const char *content_type)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
    struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", content_type);
    return response;
}

static void add_headers(struct MHD_Response *response, const ResponseHeaders *headers)
{
    if (headers && headers->location) {
        MHD_add_response_header(response, "Location", headers->location);
    }
    if (headers && headers->etag) {
        MHD_add_response_header(response, "ETag", headers->etag);
    }
    if (headers && headers->allow) {
        MHD_add_response_header(response, "Allow", headers->allow);
    }
}

enum MHD_Result response_json(const Request *request, guint status, const json_t *body, const ResponseHeaders *headers)
{
    struct MHD_Response *response = response_from(body, "application/json");
    add_headers(response, headers);
    return response_queue(request, status, response);
}

enum MHD_Result response_problem(const Request *request, guint status, const GError *error, const char *allow)
{
    int code = holdfast_error_code(error);
    status = status ? status : (guint) holdfast_error_http_status(code);
    g_autoptr(json_t) body = problem_encode(code, status, error->message, request->id);
    struct MHD_Response *response = response_from(body, PROBLEM_CONTENT_TYPE);
    add_headers(response, &(ResponseHeaders){.allow = allow});
    if (status == 401) {
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"holdfast\"");
    } else if (status == 503) {
        MHD_add_response_header(response, "Retry-After", "2");
    }
    return response_queue(request, status, response);
}

enum MHD_Result response_not_modified(const Request *request, const char *etag)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *) "", MHD_RESPMEM_PERSISTENT);
    add_headers(response, &(ResponseHeaders){.etag = etag});
    return response_queue(request, 304, response);
}
