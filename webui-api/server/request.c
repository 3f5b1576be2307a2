/* SPDX-License-Identifier: Apache-2.0
 * The course of a request: framing and identity are judged at its headers, before a byte of the body is accepted; a
 * refusal is said after a moderate body has been read away, because closing a connection with unread data can lose the
 * answer. */
#include "webui-api/server/request.h"

#include "common/error.h"
#include "common/ident.h"
#include "webui-api/server/arguments.h"
#include "webui-api/server/auth.h"
#include "webui-api/server/events.h"
#include "webui-api/server/response.h"
#include "webui-api/server/upload.h"

#include <string.h>

#define CALL_TIMEOUT_MS 30000
#define READY_TIMEOUT_MS 5000
#define DRAIN_MAX_BYTES (8ull * 1024 * 1024)
#define REQUEST_ID_MAX 64

typedef struct {
    guint hosts, lengths, encodings;
    gboolean strange;
} Framing;

const char *request_header(const Request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

size_t request_unescape_nothing(void *closure, struct MHD_Connection *connection, char *text)
{
    (void) closure;
    (void) connection;
    return strlen(text);
}

gboolean request_wait_begin(Server *server, GError **error)
{
    if (g_atomic_int_add(&server->waiting, 1) < SERVER_WAITING_MAX) {
        return TRUE;
    }
    request_wait_end(server);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                "%d clients wait on this node already: ask without waiting, or another node", SERVER_WAITING_MAX);
    return FALSE;
}

void request_wait_end(Server *server)
{
    g_atomic_int_add(&server->waiting, -1);
}

json_t *request_call(const Request *request, const char *verb, json_t *arguments, int timeout_ms, GError **error)
{
    AgentRequest ask = {request->id, request->user, verb, arguments};
    return agent_client_call(request->server->agent, &ask, timeout_ms, error);
}

static void refuse(Request *request, guint status, int code, const char *text)
{
    request->refusal_status = status;
    request->refusal = g_error_new_literal(HOLDFAST_ERROR, code, text);
}

/* ---- at the headers ---- */

static char *choose_id(const char *wanted)
{
    gsize length = wanted ? strspn(wanted, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") : 0;
    return length > 0 && length <= REQUEST_ID_MAX && wanted[length] == '\0' ? g_strdup(wanted) : ident_new_uuid();
}

static enum MHD_Result count_header(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void) kind;
    Framing *framing = closure;
    framing->hosts += g_ascii_strcasecmp(name, "Host") == 0;
    framing->lengths += g_ascii_strcasecmp(name, "Content-Length") == 0;
    framing->encodings += g_ascii_strcasecmp(name, "Transfer-Encoding") == 0;
    framing->strange |= strpbrk(name, " \t") != NULL || (value && strpbrk(value, "\r\n"));
    return MHD_YES;
}

/* libmicrohttpd 0.9.75 is lenient where two parsers in a row must not disagree: request smuggling lives there. */
static gboolean check_framing(Request *request, const char *version)
{
    Framing framing = {0};
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_header, &framing);
    const char *length = request_header(request, "Content-Length");
    guint64 bytes = 0;
    request->content_length = -1;
    if (framing.hosts > 1 || (framing.hosts == 0 && strcmp(version, "HTTP/1.0") != 0)) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "exactly one Host header is needed");
    } else if (framing.lengths > 1 || framing.encodings > 1 || (framing.lengths && framing.encodings)) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "more than one length of the body was given");
    } else if (framing.strange) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "a header is malformed");
    } else if (length && !g_ascii_string_to_unsigned(length, 10, 0, G_MAXINT64, &bytes, NULL)) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "Content-Length is not a number");
    } else if (length) {
        request->content_length = (gint64) bytes;
    } else if (!framing.encodings) {
        request->content_length = 0;
    }
    return request->refusal == NULL;
}

static gboolean check_identity(Request *request)
{
    g_autoptr(GError) error = NULL;
    if (request->local) {
        int fd = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        if (auth_check_peer(fd, &request->user, &error)) {
            return TRUE;
        }
        refuse(request, 403, HOLDFAST_ERROR_DENIED, error->message);
        return FALSE;
    }
    if (auth_check_token(request_header(request, "Authorization"), request->server->options->token_path, &error)) {
        request->user = g_strdup("token");
        return TRUE;
    }
    refuse(request, 401, HOLDFAST_ERROR_DENIED, error->message);
    return FALSE;
}

static gboolean find_route(Request *request)
{
    switch (route_find(request->method, request->path, &request->route, &request->variables, &request->allow)) {
    case ROUTE_FOUND:
        return TRUE;
    case ROUTE_NO_METHOD: {
        g_autofree char *text = g_strdup_printf("this resource understands %s", request->allow);
        refuse(request, 405, HOLDFAST_ERROR_UNSUPPORTED, text);
        return FALSE;
    }
    case ROUTE_NO_PATH:
        refuse(request, 404, HOLDFAST_ERROR_NOT_FOUND, "no such resource: GET /api/v1 says what this API has");
        return FALSE;
    }
    return FALSE;
}

static gboolean needs_login(const Request *request)
{
    return !request->route || (request->route->kind != ROUTE_HEALTH && request->route->kind != ROUTE_READY);
}

static gboolean content_type_is(const Request *request, const char *wanted)
{
    const char *type = request_header(request, "Content-Type");
    gsize length = strlen(wanted);
    return type && g_ascii_strncasecmp(type, wanted, length) == 0 && strchr("; \t", type[length]) != NULL;
}

static void check_body_headers(Request *request)
{
    if (request->route->kind == ROUTE_UPLOAD) {
        g_autoptr(GError) error = NULL;
        if (!content_type_is(request, "application/octet-stream")) {
            refuse(request, 415, HOLDFAST_ERROR_UNSUPPORTED,
                   "an image is sent raw, with Content-Type: application/octet-stream");
        } else if (!upload_begin(request, &error)) {
            refuse(request, 0, error->code, error->message);
        }
        return;
    }
    if (request->content_length == 0) {
        return;
    }
    if (request->content_length > (gint64) JSON_TEXT_MAX_BYTES) {
        refuse(request, 413, HOLDFAST_ERROR_INVALID, "body: at most 1 MiB is accepted here");
    } else if (!request->route->body) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "body: this request takes none");
    } else if (!content_type_is(request, "application/json")) {
        refuse(request, 415, HOLDFAST_ERROR_UNSUPPORTED, "a body is sent as Content-Type: application/json");
    }
}

static Request *request_new(const RequestListener *listener, struct MHD_Connection *connection, const char *url,
                            const char *method)
{
    Request *request = g_new0(Request, 1);
    request->server = listener->server;
    request->local = listener->local;
    request->connection = connection;
    request->started_us = g_get_monotonic_time();
    request->method = g_strdup(method);
    request->path = g_strdup(url);
    request->body = g_string_new(NULL);
    request->id = choose_id(request_header(request, "X-Request-Id"));
    return request;
}

/* The spool file goes before the client learns that it was refused. */
static enum MHD_Result refuse_answer(Request *request)
{
    g_clear_pointer(&request->upload, upload_free);
    return response_problem(request, request->refusal_status, request->refusal, request->allow);
}

/* Without login nobody learns which paths exist, except the two that need none. */
static enum MHD_Result at_headers(Request *request, const char *version)
{
    if (!check_framing(request, version)) {
        return refuse_answer(request);
    }
    gboolean found = find_route(request);
    if (needs_login(request)) {
        GError *no_route = g_steal_pointer(&request->refusal);
        guint no_route_status = request->refusal_status;
        if (!check_identity(request)) {
            g_clear_error(&no_route);
            g_clear_pointer(&request->allow, g_free);
        } else {
            request->refusal = no_route;
            request->refusal_status = no_route_status;
        }
    }
    if (found && !request->refusal) {
        check_body_headers(request);
    }
    gboolean body_is_huge = request->content_length > (gint64) DRAIN_MAX_BYTES;
    if (request->refusal && (body_is_huge || request_header(request, "Expect"))) {
        return refuse_answer(request);
    }
    return MHD_YES;
}

/* ---- the body ---- */

static enum MHD_Result at_data(Request *request, const char *data, gsize size)
{
    request->received_bytes += size;
    if (request->refusal) {
        return request->received_bytes <= DRAIN_MAX_BYTES ? MHD_YES : MHD_NO;
    }
    if (request->upload) {
        g_autoptr(GError) error = NULL;
        if (!upload_write(request->upload, data, size, &error)) {
            refuse(request, 0, error->code, error->message);
        }
    } else if (!request->route->body) {
        refuse(request, 400, HOLDFAST_ERROR_INVALID, "body: this request takes none");
    } else if (request->body->len + size > JSON_TEXT_MAX_BYTES) {
        refuse(request, 413, HOLDFAST_ERROR_INVALID, "body: at most 1 MiB is accepted here");
    } else {
        g_string_append_len(request->body, data, (gssize) size);
    }
    return MHD_YES;
}

/* ---- the answer ---- */

static enum MHD_Result add_parameter(void *closure, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void) kind;
    GHashTable *query = closure;
    /* A second value spoils the first: no parameter of this API is repeatable. */
    gboolean again = g_hash_table_contains(query, name);
    g_hash_table_insert(query, g_strdup(name), g_strdup(again ? "%" : value));
    return MHD_YES;
}

static json_t *build_arguments(const Request *request, GError **error)
{
    g_autoptr(GHashTable) query = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, add_parameter, query);
    return arguments_build(request->route, request->variables, query, request->body, error);
}

static gboolean etag_matches(const char *header, const char *etag)
{
    g_auto(GStrv) tags = g_strsplit(header ? header : "", ",", -1);
    for (guint i = 0; tags[i]; i++) {
        const char *tag = g_strstrip(tags[i]);
        tag += g_str_has_prefix(tag, "W/") ? 2 : 0;
        if (strcmp(tag, etag) == 0 || strcmp(tag, "*") == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static enum MHD_Result answer_result(const Request *request, const json_t *result)
{
    const char *operation = json_string_value(json_object_get(result, "id"));
    const json_t *revision = json_object_get(result, "revision");
    g_autofree char *location =
        request->route->status == 202 && operation ? g_strconcat("/api/v1/operations/", operation, NULL) : NULL;
    g_autofree char *etag = request->route->status == 200 && json_is_integer(revision)
                                ? g_strdup_printf("\"%" JSON_INTEGER_FORMAT "\"", json_integer_value(revision))
                                : NULL;
    if (etag && etag_matches(request_header(request, "If-None-Match"), etag)) {
        return response_not_modified(request, etag);
    }
    return response_json(request, request->route->status, result,
                         &(ResponseHeaders){.location = location, .etag = etag});
}

static enum MHD_Result answer_call(const Request *request, json_t *arguments)
{
    g_autoptr(GError) error = NULL;
    gint64 wait_s = json_integer_value(json_object_get(arguments, "wait_s"));
    if (wait_s > 0 && !request_wait_begin(request->server, &error)) {
        return response_problem(request, 0, error, NULL);
    }
    g_autoptr(json_t) result =
        request_call(request, request->route->verb, arguments, CALL_TIMEOUT_MS + (int) wait_s * 1000, &error);
    if (wait_s > 0) {
        request_wait_end(request->server);
    }
    return result ? answer_result(request, result) : response_problem(request, 0, error, NULL);
}

static enum MHD_Result answer_upload(Request *request)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) operation = upload_finish(request, &error);
    g_clear_pointer(&request->upload, upload_free);
    return operation ? answer_result(request, operation) : response_problem(request, 0, error, NULL);
}

static enum MHD_Result answer_features(const Request *request)
{
    g_autoptr(json_t) body =
        json_pack("{s:s, s:s, s:[s,s,s,s,s,s]}", "product", "holdfast", "api", "v1", "features", "operations.wait",
                  "operations.cancel", "images.upload", "events.stream", "problem+json", "etag");
    return response_json(request, 200, body, NULL);
}

static enum MHD_Result answer_state(const Request *request, const char *state)
{
    g_autoptr(json_t) body = json_pack("{s:s}", "status", state);
    return response_json(request, 200, body, NULL);
}

/* Without login, so without details: those are for those who may see them. */
static enum MHD_Result answer_ready(const Request *request)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) arguments = json_object();
    AgentRequest ask = {request->id, "readyz", request->route->verb, arguments};
    g_autoptr(json_t) result = agent_client_call(request->server->agent, &ask, READY_TIMEOUT_MS, &error);
    if (result) {
        return answer_state(request, "ready");
    }
    g_autoptr(GError) brief =
        g_error_new_literal(HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "holdfastd is not answering on this node");
    return response_problem(request, 0, brief, NULL);
}

static enum MHD_Result answer(Request *request)
{
    if (request->refusal) {
        return refuse_answer(request);
    }
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) arguments = build_arguments(request, &error);
    if (!arguments) {
        return response_problem(request, 0, error, NULL);
    }
    switch (request->route->kind) {
    case ROUTE_FEATURES:
        return answer_features(request);
    case ROUTE_HEALTH:
        return answer_state(request, "ok");
    case ROUTE_READY:
        return answer_ready(request);
    case ROUTE_UPLOAD:
        return answer_upload(request);
    case ROUTE_EVENTS:
        return events_wanted(request) ? events_stream(request, arguments) : answer_call(request, arguments);
    case ROUTE_CALL:
        return answer_call(request, arguments);
    }
    return MHD_NO;
}

enum MHD_Result request_handle(void *closure, struct MHD_Connection *connection, const char *url, const char *method,
                               const char *version, const char *data, size_t *size, void **state)
{
    if (!*state) {
        Request *request = request_new(closure, connection, url, method);
        *state = request;
        return at_headers(request, version);
    }
    if (*size > 0) {
        gsize given = *size;
        *size = 0;
        return at_data(*state, data, given);
    }
    return answer(*state);
}

void request_completed(void *closure, struct MHD_Connection *connection, void **state,
                       enum MHD_RequestTerminationCode code)
{
    (void) closure;
    (void) connection;
    (void) code;
    Request *request = *state;
    if (!request) {
        return;
    }
    *state = NULL;
    upload_free(request->upload);
    g_clear_error(&request->refusal);
    g_clear_pointer(&request->variables, g_hash_table_unref);
    g_string_free(request->body, TRUE);
    g_free(request->allow);
    g_free(request->user);
    g_free(request->method);
    g_free(request->path);
    g_free(request->id);
    g_free(request);
}
