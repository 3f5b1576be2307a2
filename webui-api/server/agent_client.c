/* SPDX-License-Identifier: Apache-2.0
 * Client of holdfastd's line-framed JSON socket. A connection costs some 20 microseconds here, so there is no pool to
 * go stale. */
#include "webui-api/server/agent_client.h"

#include "common/agent_protocol.h"
#include "common/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define AGENT_DOWN "holdfastd is not answering on this node; guests keep running; see `systemctl status holdfastd`"
#define LINE_MAX_BYTES JSON_ANSWER_MAX_BYTES
#define CONNECT_TIMEOUT_MS 2000

struct AgentClient {
    char *path;
    int stop_fd;
};

/* One connection: the bytes after the last line taken stay in `buffer`. */
struct AgentStream {
    int fd;
    int stop_fd;
    GString *buffer;
};

typedef enum { WAIT_READY, WAIT_TIMEOUT, WAIT_STOPPED, WAIT_HANGUP } WaitResult;

AgentClient *agent_client_new(const char *socket_path, int stop_fd)
{
    AgentClient *client = g_new0(AgentClient, 1);
    client->path = g_strdup(socket_path);
    client->stop_fd = stop_fd;
    return client;
}

void agent_client_free(AgentClient *client)
{
    if (client) {
        g_free(client->path);
        g_free(client);
    }
}

void agent_stream_free(AgentStream *stream)
{
    if (stream) {
        close(stream->fd);
        g_string_free(stream->buffer, TRUE);
        g_free(stream);
    }
}

static WaitResult stream_wait(const AgentStream *stream, short events, gint64 deadline_us, int client_fd)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = stream->fd, .events = events},
            {.fd = stream->stop_fd, .events = POLLIN},
            {.fd = client_fd, .events = POLLRDHUP},
        };
        gint64 left_ms = (deadline_us - g_get_monotonic_time() + 999) / 1000;
        int n = poll(fds, G_N_ELEMENTS(fds), (int) CLAMP(left_ms, 0, G_MAXINT));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (fds[1].revents) {
            return WAIT_STOPPED;
        }
        if (fds[2].revents) {
            return WAIT_HANGUP;
        }
        return n > 0 ? WAIT_READY : WAIT_TIMEOUT;
    }
}

static gboolean wait_failed(WaitResult result, const char *verb, GError **error)
{
    if (result == WAIT_TIMEOUT) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                    "holdfastd did not answer '%s' in time; whether it was done is unknown: look before repeating it",
                    verb);
    } else {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "holdfast-api is being stopped; ask again");
    }
    return FALSE;
}

static AgentStream *stream_connect(const AgentClient *client, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(client->path) >= sizeof address.sun_path) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "agent socket path is too long: %s", client->path);
        return NULL;
    }
    g_strlcpy(address.sun_path, client->path, sizeof address.sun_path);
    /* A unix connect blocks only while the listener's backlog is full: bounded by the send timeout. */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = CONNECT_TIMEOUT_MS / 1000};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        connect(fd, (struct sockaddr *) &address, sizeof address) != 0) {
        int saved = errno;
        if (fd >= 0) {
            close(fd);
        }
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, AGENT_DOWN " (%s)", g_strerror(saved));
        return NULL;
    }
    AgentStream *stream = g_new0(AgentStream, 1);
    stream->fd = fd;
    stream->stop_fd = client->stop_fd;
    stream->buffer = g_string_new(NULL);
    return stream;
}

static gboolean stream_send(AgentStream *stream, const char *text, gsize length, gint64 deadline_us, const char *verb,
                            GError **error)
{
    while (length > 0) {
        ssize_t n = send(stream->fd, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            text += n;
            length -= (gsize) n;
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, AGENT_DOWN " (%s)", g_strerror(errno));
            return FALSE;
        }
        WaitResult ready = stream_wait(stream, POLLOUT, deadline_us, -1);
        if (ready != WAIT_READY) {
            return wait_failed(ready, verb, error);
        }
    }
    return TRUE;
}

/* The next whole line without its newline, or NULL with *ret_wait set: READY then means that the stream is broken or
 * over. */
static char *stream_line(AgentStream *stream, gint64 deadline_us, int client_fd, WaitResult *ret_wait)
{
    gsize searched = 0;
    for (;;) {
        char *newline = memchr(stream->buffer->str + searched, '\n', stream->buffer->len - searched);
        if (newline) {
            gsize length = (gsize) (newline - stream->buffer->str);
            char *line = g_strndup(stream->buffer->str, length);
            g_string_erase(stream->buffer, 0, (gssize) length + 1);
            return line;
        }
        searched = stream->buffer->len;
        *ret_wait = stream_wait(stream, POLLIN, deadline_us, client_fd);
        if (*ret_wait != WAIT_READY) {
            return NULL;
        }
        char chunk[16384];
        ssize_t n = recv(stream->fd, chunk, sizeof chunk, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            continue;
        }
        if (n <= 0 || stream->buffer->len + (gsize) n > LINE_MAX_BYTES + sizeof chunk) {
            return NULL;
        }
        g_string_append_len(stream->buffer, chunk, n);
    }
}

static json_t *stream_ask(AgentStream *stream, const AgentRequest *request, int timeout_ms, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    g_autofree char *text = agent_request_line(request->request_id, request->verb, request->arguments, request->user);
    gsize length = strlen(text);
    if (length > JSON_TEXT_MAX_BYTES) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "body: too large for holdfastd (%" G_GSIZE_FORMAT " bytes)", length);
        return NULL;
    }
    if (!stream_send(stream, text, length, deadline_us, request->verb, error)) {
        return NULL;
    }
    WaitResult ended = WAIT_READY;
    g_autofree char *line = stream_line(stream, deadline_us, -1, &ended);
    if (line) {
        return agent_answer_result(line, request->verb, error);
    }
    if (ended != WAIT_READY) {
        wait_failed(ended, request->verb, error);
    } else if (stream->buffer->len >= LINE_MAX_BYTES) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "holdfastd's answer to '%s' is larger than 16 MiB",
                    request->verb);
    } else {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, AGENT_DOWN " (it hung up)");
    }
    return NULL;
}

json_t *agent_client_call(const AgentClient *client, const AgentRequest *request, int timeout_ms, GError **error)
{
    g_autoptr(AgentStream) stream = stream_connect(client, error);
    return stream ? stream_ask(stream, request, timeout_ms, error) : NULL;
}

AgentStream *agent_client_watch(const AgentClient *client, const AgentRequest *request, int timeout_ms, GError **error)
{
    g_autoptr(AgentStream) stream = stream_connect(client, error);
    g_autoptr(json_t) answer = stream ? stream_ask(stream, request, timeout_ms, error) : NULL;
    return answer ? g_steal_pointer(&stream) : NULL;
}

AgentStreamResult agent_stream_next(AgentStream *stream, int timeout_ms, int client_fd, json_t **ret_event)
{
    WaitResult ended = WAIT_READY;
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    g_autofree char *line = stream_line(stream, deadline_us, client_fd, &ended);
    if (!line) {
        return ended == WAIT_TIMEOUT ? AGENT_STREAM_QUIET : AGENT_STREAM_ENDED;
    }
    if (*line == '\0') {
        return AGENT_STREAM_QUIET; /* the agent's own sign of life */
    }
    g_autoptr(json_t) envelope = json_text_parse(line, -1, "event", NULL);
    json_t *event = json_object_get(envelope, "event");
    if (!json_is_object(event)) {
        return AGENT_STREAM_ENDED;
    }
    *ret_event = json_incref(event);
    return AGENT_STREAM_EVENT;
}
