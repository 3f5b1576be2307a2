/* SPDX-License-Identifier: Apache-2.0
 * One call of holdfastd over its unix socket. */
#include "common/local_call.h"

#include "common/agent_protocol.h"
#include "common/error.h"

#include <gio/gio.h>
#include <gio/gunixsocketaddress.h>
#include <string.h>

static GSocketConnection *connect_to(const char *path, int timeout_ms, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GError) problem = NULL;
    g_socket_client_set_timeout(client, (guint) ((timeout_ms + 999) / 1000));
    GSocketConnection *connection = g_socket_client_connect(client, G_SOCKET_CONNECTABLE(address), NULL, &problem);
    if (!connection) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "holdfastd does not answer on %s (%s); guests keep running; see 'systemctl status holdfastd'", path,
                    problem->message);
    }
    return connection;
}

static char *exchange(GSocketConnection *connection, const char *line, int timeout_ms, GError **error)
{
    g_autoptr(GError) problem = NULL;
    GOutputStream *out = g_io_stream_get_output_stream(G_IO_STREAM(connection));
    g_autoptr(GDataInputStream) in = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    g_filter_input_stream_set_close_base_stream(G_FILTER_INPUT_STREAM(in), FALSE);
    char *answer = NULL;
    if (g_output_stream_write_all(out, line, strlen(line), NULL, NULL, &problem)) {
        answer = g_data_input_stream_read_line(in, NULL, NULL, &problem);
    }
    if (!answer && g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_TIMED_OUT)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "holdfastd gave no answer within %d ms", timeout_ms);
    } else if (!answer) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "holdfastd closed the connection: %s",
                    problem ? problem->message : "end of stream");
    }
    return answer;
}

json_t *local_call(const char *socket_path, const char *verb, json_t *arguments, int timeout_ms, GError **error)
{
    g_autoptr(GSocketConnection) connection = connect_to(socket_path, timeout_ms, error);
    if (!connection) {
        return NULL;
    }
    g_autofree char *line = agent_request_line(verb, verb, arguments, NULL);
    g_autofree char *reply = exchange(connection, line, timeout_ms, error);
    return reply ? agent_answer_result(reply, verb, error) : NULL;
}
