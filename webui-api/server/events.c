/* SPDX-License-Identifier: Apache-2.0
 * GET /events as text/event-stream. The connection's own thread waits for the agent, the end of the process and the
 * client's hang-up at once; a comment every 15 s shows proxies and a dead client's kernel that the stream lives. */
#include "webui-api/server/events.h"

#include "common/error.h"
#include "webui-api/server/response.h"

#include <string.h>

#define HEARTBEAT_MS 15000
#define OPEN_TIMEOUT_MS 10000
#define BLOCK_BYTES 16384

typedef struct {
    Server *server;
    AgentStream *stream;
    int client_fd;
    GString *pending;
} EventsState;

gboolean events_wanted(const Request *request)
{
    const char *accept = request_header(request, "Accept");
    return accept && strstr(accept, "text/event-stream");
}

char *events_format(const json_t *event)
{
    g_autofree char *data = json_text_from(event);
    GString *text = g_string_new(NULL);
    const json_t *index = json_object_get(event, "index");
    if (json_is_integer(index)) {
        g_string_append_printf(text, "id: %" JSON_INTEGER_FORMAT "\n", json_integer_value(index));
    }
    /* All kinds arrive as plain messages; only "reset" (the past is gone: fetch everything again) is a type of its own.
     */
    if (g_strcmp0(json_string_value(json_object_get(event, "kind")), "reset") == 0) {
        g_string_append(text, "event: reset\n");
    }
    g_string_append_printf(text, "data: %s\n\n", data);
    return g_string_free(text, FALSE);
}

static ssize_t events_read(void *closure, uint64_t position, char *buffer, size_t size)
{
    (void) position;
    EventsState *state = closure;
    if (state->pending->len == 0) {
        g_autoptr(json_t) event = NULL;
        AgentStreamResult result = agent_stream_next(state->stream, HEARTBEAT_MS, state->client_fd, &event);
        if (result == AGENT_STREAM_ENDED) {
            return MHD_CONTENT_READER_END_OF_STREAM;
        }
        g_autofree char *text = event ? events_format(event) : g_strdup(": alive\n\n");
        g_string_append(state->pending, text);
    }
    gsize length = MIN(size, state->pending->len);
    memcpy(buffer, state->pending->str, length);
    g_string_erase(state->pending, 0, (gssize) length);
    return (ssize_t) length;
}

static void events_end(void *closure)
{
    EventsState *state = closure;
    request_wait_end(state->server);
    agent_stream_free(state->stream);
    g_string_free(state->pending, TRUE);
    g_free(state);
}

static gboolean take_last_event_id(const Request *request, json_t *arguments, GError **error)
{
    const char *text = request_header(request, "Last-Event-ID");
    gint64 since = 0;
    if (!text || !*text) {
        return TRUE;
    }
    if (!g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, &since, NULL)) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "Last-Event-ID: must be the id of an event");
        return FALSE;
    }
    json_object_set_new(arguments, "since", json_integer(since));
    return TRUE;
}

static AgentStream *stream_open(const Request *request, json_t *arguments, GError **error)
{
    if (!take_last_event_id(request, arguments, error) || !request_wait_begin(request->server, error)) {
        return NULL;
    }
    AgentRequest ask = {request->id, request->user, "events.watch", arguments};
    AgentStream *stream = agent_client_watch(request->server->agent, &ask, OPEN_TIMEOUT_MS, error);
    if (!stream) {
        request_wait_end(request->server);
    }
    return stream;
}

enum MHD_Result events_stream(const Request *request, json_t *arguments)
{
    g_autoptr(GError) error = NULL;
    AgentStream *stream = stream_open(request, arguments, &error);
    if (!stream) {
        return response_problem(request, 0, error, NULL);
    }
    EventsState *state = g_new0(EventsState, 1);
    state->server = request->server;
    state->stream = stream;
    state->client_fd = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    state->pending = g_string_new(": connected\nretry: 2000\n\n");
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, events_read, state, events_end);
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    return response_queue(request, 200, response);
}
