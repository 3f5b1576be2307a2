/* SPDX-License-Identifier: Apache-2.0
 * The unix socket of holdfastd. */
#include "node-agent/socket.h"

#include "common/error.h"
#include "common/json.h"
#include "common/log.h"
#include "node-agent/verbs.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64
#define EVENT_POLL_MS 500

struct AgentSocket {
    GSocketService *service;
    char *path;
};

/* "spec.memory_mib: must be ..." -> "spec.memory_mib"; NULL when the text does not begin with a field's name. */
static char *field_of(const char *message)
{
    gsize length = strspn(message, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.[]");
    return length > 0 && message[length] == ':' ? g_strndup(message, length) : NULL;
}

static json_t *failure(const GError *error)
{
    int code = holdfast_error_code(error);
    g_autofree char *field =
        code == HOLDFAST_ERROR_INVALID || code == HOLDFAST_ERROR_EXISTS ? field_of(error->message) : NULL;
    json_t *object = json_pack("{s:s,s:s}", "code", holdfast_error_name(code), "message", error->message);
    if (field) {
        json_object_set_new(object, "field", json_string(field));
    }
    return object;
}

static gboolean line_send(GOutputStream *out, const json_t *object)
{
    g_autofree char *text = json_text_from(object);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    return g_output_stream_write_all(out, line, strlen(line), NULL, NULL, NULL);
}

static gboolean answer_send(GOutputStream *out, const char *id, json_t *result, const GError *error)
{
    g_autoptr(json_t) answer = json_pack("{s:i,s:s,s:b}", "v", 1, "id", id ? id : "", "ok", error == NULL);
    if (error) {
        json_object_set_new(answer, "error", failure(error));
    } else {
        json_object_set(answer, "result", result);
    }
    return line_send(out, answer);
}

/* Until the client goes away: what event.list would say, as it appears; without "since" from now on. An empty line
 * every 10 s finds out whether it is still there. */
static void events_stream(Daemon *daemon, GOutputStream *out, const json_t *arguments, gint64 begin)
{
    const json_t *wanted = json_object_get(arguments, "since");
    gint64 since = wanted ? json_integer_value(wanted) : begin;
    gboolean alive = TRUE;
    for (guint round = 0; alive; round++) {
        g_autoptr(json_t) query = json_pack("{s:I}", "since", (json_int_t) since);
        g_autoptr(json_t) events = verb_run(daemon, "event.list", query, "local", NULL);
        gsize index;
        json_t *event;
        json_array_foreach (events, index, event) {
            g_autoptr(json_t) line = json_pack("{s:i,s:O}", "v", 1, "event", event);
            since = MAX(since, json_integer_value(json_object_get(event, "index")));
            alive = alive && line_send(out, line);
        }
        if (round % 20 == 19) {
            alive = alive && g_output_stream_write_all(out, "\n", 1, NULL, NULL, NULL);
        }
        g_usleep(EVENT_POLL_MS * 1000);
    }
}

/* The kernel's word on who is at the other end. */
static gboolean is_root(GSocketConnection *connection)
{
    struct ucred caller = {.uid = (uid_t) -1};
    socklen_t length = sizeof(caller);
    int fd = g_socket_get_fd(g_socket_connection_get_socket(connection));
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &caller, &length) == 0 && caller.uid == 0;
}

/* FALSE: close the connection. */
static gboolean request_serve(Daemon *daemon, GOutputStream *out, const char *line, gboolean root)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) request = json_text_parse(line, -1, "request", &error);
    const char *id = json_string_value(json_object_get(request, "id"));
    const char *verb = json_string_value(json_object_get(request, "verb"));
    json_t *arguments = json_object_get(request, "args");
    if (request && (!verb || json_integer_value(json_object_get(request, "v")) != 1)) {
        g_set_error_literal(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "request: needs \"v\":1 and a \"verb\"");
    } else if (request && !root && verb_is_for_root(verb)) {
        g_set_error(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED, "verb '%s' is for root only", verb);
    }
    if (error) {
        answer_send(out, id, NULL, error);
        return FALSE;
    }
    if (g_str_equal(verb, "events.watch")) {
        g_autoptr(json_t) empty = json_object();
        gint64 begin = cache_revision(daemon->cache); /* before the answer: what happens after it is not missed */
        if (answer_send(out, id, empty, NULL)) {
            events_stream(daemon, out, arguments, begin);
        }
        return FALSE;
    }
    g_autoptr(json_t) result =
        verb_run(daemon, verb, arguments, json_string_value(json_object_get(request, "user")), &error);
    if (!result && !error) {
        g_set_error(&error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "verb '%s' gave neither result nor reason", verb);
    }
    return answer_send(out, id, result, error);
}

static gboolean on_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                       GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    g_autoptr(GDataInputStream) in = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    gboolean open = TRUE, root = is_root(connection);
    while (open) {
        gsize length = 0;
        g_autofree char *line = g_data_input_stream_read_line(in, &length, NULL, NULL);
        open = line && length <= JSON_TEXT_MAX_BYTES && request_serve(user_data, out, line, root);
    }
    return TRUE;
}

static void permit_api(const char *path)
{
    const struct group *group = getgrnam("holdfast-api");
    if (chmod(path, 0660) != 0 || (group && chown(path, 0, group->gr_gid) != 0)) {
        log_line(LOG_LEVEL_WARNING, "%s: permissions could not be set", path);
    }
}

AgentSocket *agent_socket_new(Daemon *daemon, const char *path, GError **error)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autofree char *folder = g_path_get_dirname(path);
    AgentSocket *socket = g_new0(AgentSocket, 1);
    socket->path = g_strdup(path);
    socket->service = g_threaded_socket_service_new(MAX_CONNECTIONS);
    g_mkdir_with_parents(folder, 0755);
    unlink(path);
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(socket->service), address, G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, error)) {
        agent_socket_free(socket);
        return NULL;
    }
    permit_api(path);
    g_signal_connect(socket->service, "run", G_CALLBACK(on_run), daemon);
    g_socket_service_start(socket->service);
    return socket;
}

void agent_socket_free(AgentSocket *socket)
{
    g_socket_service_stop(socket->service);
    g_object_unref(socket->service);
    unlink(socket->path);
    g_free(socket->path);
    g_free(socket);
}
