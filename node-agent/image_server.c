/* SPDX-License-Identifier: Apache-2.0
 * Serving images to the other nodes. */
#include "node-agent/image_transfer.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/json.h"
#include "common/log.h"
#include "node-agent/join_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECTIONS_MAX 4
#define PEER_TIMEOUT_S 30 /* without a single byte taken or sent */
#define LINE_MAX_BYTES 1024u
#define BLOCK_BYTES (256 * 1024)

struct ImageServer {
    const SetupContext *context;
    const char *folder;
    ImageOffered offered;
    gpointer user_data;
    GTlsCertificate *certificate;
    GTlsDatabase *authority;
    GSocketService *service;
    int port;
};

typedef struct {
    int fd;
    gint64 size;
    GOutputStream *output;
} Sending;

static gboolean frame_send(const Sending *sending, gint64 offset, const char *block, gint64 length, GError **error)
{
    guint64 head[2] = {GUINT64_TO_BE((guint64) offset), GUINT64_TO_BE((guint64) length)};
    return g_output_stream_write_all(sending->output, head, sizeof(head), NULL, NULL, error) &&
           (length == 0 || g_output_stream_write_all(sending->output, block, (gsize) length, NULL, NULL, error));
}

static gboolean is_zero(const char *block, gsize length)
{
    return block[0] == 0 && memcmp(block, block + 1, length - 1) == 0;
}

static gboolean image_send(const Sending *sending, GError **error)
{
    g_autofree char *block = g_malloc(BLOCK_BYTES);
    for (gint64 at = 0; at < sending->size;) {
        off_t data = lseek(sending->fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) {
            break; /* nothing but a hole left */
        }
        at = data > at ? data : at;
        gsize wanted = (gsize) MIN(BLOCK_BYTES, sending->size - at);
        ssize_t got = pread(sending->fd, block, wanted, at);
        if (got <= 0) {
            return holdfast_error_set_errno(error, got < 0 ? errno : EIO,
                                            "cannot read the image at byte %" G_GINT64_FORMAT, at);
        }
        if (!is_zero(block, (gsize) got) && !frame_send(sending, at, block, got, error)) {
            return FALSE;
        }
        at += got;
    }
    return frame_send(sending, sending->size, NULL, 0, error);
}

/* The file of an image that is asked for, opened; -1 with an error. */
static int image_open(const ImageServer *server, const json_t *request, struct stat *ret_stat, GError **error)
{
    const char *image = json_string_value(json_object_get(request, "image"));
    const char *sha256 = json_string_value(json_object_get(request, "sha256"));
    if (json_integer_value(json_object_get(request, "v")) != 1) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED, "v: must be 1: is Holdfast of one version?");
        return -1;
    }
    if (!ident_check_name(image ? image : "", "image", error)) {
        return -1;
    }
    g_autofree char *path = g_strdup_printf("%s/%s.raw", server->folder, image);
    int fd = server->offered(image, sha256 ? sha256 : "", server->user_data)
                 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
                 : -1;
    if (fd < 0 || fstat(fd, ret_stat) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "image '%s' is not on node %s", image,
                    ident_node_name());
        return -1;
    }
    return fd;
}

static gboolean request_serve(const ImageServer *server, JoinWire *wire, GIOStream *tls, GError **error)
{
    struct stat st;
    g_autoptr(json_t) request = join_wire_receive(wire, error);
    int fd = request ? image_open(server, request, &st, error) : -1;
    if (fd < 0) {
        g_autoptr(json_t) refusal = join_wire_error(*error);
        join_wire_send(wire, refusal, NULL);
        return FALSE;
    }
    Sending sending = {.fd = fd, .size = st.st_size, .output = g_io_stream_get_output_stream(tls)};
    g_autoptr(json_t) answer =
        json_pack("{s:I,s:I}", "size", (json_int_t) st.st_size, "data", (json_int_t) st.st_blocks * 512);
    gboolean ok = join_wire_send(wire, answer, error);
    g_autoptr(json_t) go = ok ? join_wire_receive(wire, error) : NULL;
    ok = go && image_send(&sending, error);
    close(fd);
    return ok;
}

/* On the server's side GIO asks for every certificate, good ones too, and takes none without a TRUE. */
static gboolean on_accept_certificate(GTlsConnection *connection G_GNUC_UNUSED,
                                      GTlsCertificate *certificate G_GNUC_UNUSED, GTlsCertificateFlags problems,
                                      gpointer user_data G_GNUC_UNUSED)
{
    return problems == 0;
}

static gboolean connection_serve(const ImageServer *server, GSocketConnection *connection, GError **error)
{
    g_socket_set_timeout(g_socket_connection_get_socket(connection), PEER_TIMEOUT_S);
    g_autoptr(GIOStream) tls = g_tls_server_connection_new(G_IO_STREAM(connection), server->certificate, error);
    if (!tls) {
        return FALSE;
    }
    g_object_set(tls, "authentication-mode", G_TLS_AUTHENTICATION_REQUIRED, "database", server->authority, NULL);
    g_signal_connect(tls, "accept-certificate", G_CALLBACK(on_accept_certificate), NULL);
    if (!g_tls_connection_handshake(G_TLS_CONNECTION(tls), NULL, error)) {
        return FALSE;
    }
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, NULL, LINE_MAX_BYTES);
    gboolean ok = request_serve(server, &wire, tls, error);
    g_io_stream_close(tls, NULL, NULL);
    return ok;
}

static gboolean on_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                       GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    if (!connection_serve(user_data, connection, &error)) {
        log_line(LOG_LEVEL_WARNING, "an image was not handed out: %s", error->message);
    }
    return TRUE;
}

static void server_clear(gpointer data)
{
    ImageServer *server = data;
    g_clear_object(&server->certificate);
    g_clear_object(&server->authority);
}

/* A connection under way keeps the handler, and that keeps the server. */
static void on_handler_gone(gpointer server, GClosure *closure G_GNUC_UNUSED)
{
    g_atomic_rc_box_release_full(server, server_clear);
}

static gboolean listen_on(ImageServer *server, const char *text, int port, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GSocketAddress) bound = NULL;
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(text, (guint) port);
    if (!address || !g_socket_listener_add_address(G_SOCKET_LISTENER(server->service), address, G_SOCKET_TYPE_STREAM,
                                                   G_SOCKET_PROTOCOL_TCP, NULL, &bound, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot offer images on %s:%d: %s", text, port,
                    problem ? problem->message : "not an address");
        return FALSE;
    }
    server->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    return TRUE;
}

static gboolean certificates_load(ImageServer *server, GError **error)
{
    g_autofree char *certificate = setup_path(server->context, NODE_CERT_FILE);
    g_autofree char *key = setup_path(server->context, NODE_KEY_FILE);
    g_autofree char *authority = setup_path(server->context, NODE_CA_FILE);
    server->certificate = g_tls_certificate_new_from_files(certificate, key, error);
    server->authority = server->certificate ? g_tls_file_database_new(authority, error) : NULL;
    return server->authority != NULL;
}

ImageServer *image_server_new(const SetupContext *context, const char *const *addresses, int port, const char *folder,
                              ImageOffered offered, gpointer user_data, GError **error)
{
    ImageServer *server = g_atomic_rc_box_new0(ImageServer);
    server->context = context;
    server->folder = folder;
    server->offered = offered;
    server->user_data = user_data;
    server->service = g_threaded_socket_service_new(CONNECTIONS_MAX);
    gboolean ok = certificates_load(server, error);
    for (; ok && *addresses; addresses++) {
        ok = listen_on(server, *addresses, port, error);
    }
    g_signal_connect_data(server->service, "run", G_CALLBACK(on_run), g_atomic_rc_box_acquire(server), on_handler_gone,
                          0);
    if (!ok) {
        image_server_free(server);
        return NULL;
    }
    g_socket_service_start(server->service);
    return server;
}

int image_server_port(const ImageServer *server)
{
    return server->port;
}

void image_server_free(ImageServer *server)
{
    g_socket_service_stop(server->service);
    g_socket_listener_close(G_SOCKET_LISTENER(server->service));
    g_signal_handlers_disconnect_by_data(server->service, server);
    g_object_unref(server->service);
    g_atomic_rc_box_release_full(server, server_clear);
}
