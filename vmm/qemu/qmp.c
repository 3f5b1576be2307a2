/* SPDX-License-Identifier: Apache-2.0
 * QMP over a unix socket. QEMU serves one client per socket: a second one is accepted only when the first hangs up, so
 * opening tries both of our sockets and every session is short. The peer is a process that runs a guest, so it is not
 * trusted: lines are bounded. */
#include "vmm/qemu/qmp.h"

#include "common/error.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct Qmp {
    int fd;
    gint64 deadline_us;
    GString *buffer; /* received and not yet consumed */
    guint64 next_id;
    char *path;
};

void qmp_close(Qmp *qmp)
{
    if (qmp->fd >= 0) {
        close(qmp->fd);
    }
    g_string_free(qmp->buffer, TRUE);
    g_free(qmp->path);
    g_free(qmp);
}

static void deadline_set(Qmp *qmp, gint64 deadline_us)
{
    qmp->deadline_us = deadline_us;
}

void qmp_set_timeout(Qmp *qmp, int timeout_ms)
{
    deadline_set(qmp, g_get_monotonic_time() + (gint64) timeout_ms * 1000);
}

/* Wait until the socket is ready for `events` or the deadline passes. */
static gboolean wait_for(Qmp *qmp, short events, GError **error)
{
    for (;;) {
        gint64 left_us = qmp->deadline_us - g_get_monotonic_time();
        if (left_us <= 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "QEMU does not answer on %s", qmp->path);
            return FALSE;
        }
        struct pollfd item = {.fd = qmp->fd, .events = events};
        int ready = poll(&item, 1, (int) MIN((left_us + 999) / 1000, G_MAXINT));
        if (ready > 0) {
            return TRUE;
        }
        if (ready < 0 && errno != EINTR) {
            return holdfast_error_set_errno(error, errno, "poll on %s", qmp->path);
        }
    }
}

static gboolean hung_up(Qmp *qmp, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "QEMU closed %s: it has ended or is ending",
                qmp->path);
    return FALSE;
}

/* One line without its end, or NULL. */
static char *line_read(Qmp *qmp, GError **error)
{
    for (;;) {
        char *end = memchr(qmp->buffer->str, '\n', qmp->buffer->len);
        if (end) {
            gsize length = (gsize) (end - qmp->buffer->str);
            char *line = g_strndup(qmp->buffer->str, length);
            g_string_erase(qmp->buffer, 0, (gssize) length + 1);
            return line;
        }
        if (qmp->buffer->len > JSON_TEXT_MAX_BYTES) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "QEMU sent a line of more than %u bytes on %s",
                        JSON_TEXT_MAX_BYTES, qmp->path);
            return NULL;
        }
        if (!wait_for(qmp, POLLIN, error)) {
            return NULL;
        }
        char chunk[16384];
        ssize_t got = recv(qmp->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
        if (got > 0) {
            g_string_append_len(qmp->buffer, chunk, got);
        } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            hung_up(qmp, error);
            return NULL;
        }
    }
}

static json_t *message_read(Qmp *qmp, GError **error)
{
    g_autofree char *line = line_read(qmp, error);
    return line ? json_text_parse(line, -1, "QMP", error) : NULL;
}

static gboolean text_send(Qmp *qmp, const char *text, GError **error)
{
    gsize left = strlen(text);
    while (left > 0) {
        ssize_t put = send(qmp->fd, text, left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put >= 0) {
            text += put;
            left -= (gsize) put;
        } else if (errno == EAGAIN || errno == EINTR) {
            if (!wait_for(qmp, POLLOUT, error)) {
                return FALSE;
            }
        } else {
            return hung_up(qmp, error);
        }
    }
    return TRUE;
}

static json_t *refusal(const char *command, const json_t *problem, GError **error)
{
    const char *text = json_string_value(json_object_get(problem, "desc"));
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "QEMU refused %s: %s", command,
                text ? text : "no reason given");
    return NULL;
}

json_t *qmp_execute(Qmp *qmp, const char *command, json_t *arguments, GError **error)
{
    json_int_t id = (json_int_t) qmp->next_id++;
    g_autoptr(json_t) request = json_pack("{s:s, s:I}", "execute", command, "id", id);
    if (arguments) {
        json_object_set_new(request, "arguments", arguments);
    }
    g_autofree char *text = json_text_from(request);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    if (!text_send(qmp, line, error)) {
        return NULL;
    }
    for (;;) {
        g_autoptr(json_t) answer = message_read(qmp, error);
        if (!answer) {
            g_prefix_error(error, "%s: ", command);
            return NULL;
        }
        const json_t *problem = json_object_get(answer, "error");
        json_t *result = json_object_get(answer, "return");
        json_t *answered = json_object_get(answer, "id");
        if (answered && json_integer_value(answered) != id) {
            continue; /* the late answer to something we gave up on */
        }
        if (problem) {
            return refusal(command, problem, error);
        }
        if (result && answered) {
            return json_incref(result);
        }
    }
}

gboolean qmp_run(Qmp *qmp, const char *command, json_t *arguments, GError **error)
{
    g_autoptr(json_t) result = qmp_execute(qmp, command, arguments, error);
    return result != NULL;
}

/* QEMU's listen queue is one deep: while it is full connect() says EAGAIN. */
static gboolean socket_connect(Qmp *qmp, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (g_strlcpy(address.sun_path, qmp->path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "run_folder: %s is too long for a socket",
                    qmp->path);
        return FALSE;
    }
    while (connect(qmp->fd, (struct sockaddr *) &address, sizeof(address)) != 0) {
        int err = errno;
        if (err == EAGAIN && g_get_monotonic_time() < qmp->deadline_us) {
            g_usleep(10 * 1000);
        } else if (err == EAGAIN) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "QEMU's monitor %s stays busy", qmp->path);
            return FALSE;
        } else if (err != EINTR) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "no VMM listens on %s: %s", qmp->path,
                        g_strerror(err));
            return FALSE;
        }
    }
    return TRUE;
}

static Qmp *session_open(const char *run_folder, const char *name, gint64 deadline_us, GError **error)
{
    g_autoptr(Qmp) qmp = g_new0(Qmp, 1);
    qmp->buffer = g_string_new(NULL);
    qmp->path = g_build_filename(run_folder, name, NULL);
    deadline_set(qmp, deadline_us);
    qmp->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (qmp->fd < 0) {
        holdfast_error_set_errno(error, errno, "socket for %s", qmp->path);
        return NULL;
    }
    if (!socket_connect(qmp, error)) {
        return NULL;
    }
    g_autoptr(json_t) greeting = message_read(qmp, error);
    if (!greeting) {
        return NULL;
    }
    if (!json_object_get(greeting, "QMP")) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "%s does not speak QMP", qmp->path);
        return NULL;
    }
    return qmp_run(qmp, "qmp_capabilities", NULL, error) ? g_steal_pointer(&qmp) : NULL;
}

Qmp *qmp_open(const char *run_folder, int timeout_ms, GError **error)
{
    gint64 now_us = g_get_monotonic_time();
    gint64 deadline_us = now_us + (gint64) timeout_ms * 1000;
    Qmp *qmp = session_open(run_folder, "qmp.sock", now_us + (gint64) timeout_ms * 400, NULL);
    if (!qmp) {
        qmp = session_open(run_folder, "agent.sock", deadline_us, error);
    }
    if (qmp) {
        deadline_set(qmp, deadline_us);
    }
    return qmp;
}
