/* SPDX-License-Identifier: Apache-2.0
 * Fetching an image from a node that has it. */
#include "node-agent/image_transfer.h"

#include "cluster/node_config.h"
#include "common/error.h"
#include "common/json.h"
#include "node-agent/join_wire.h"
#include "storage/image.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define CONNECT_TIMEOUT_S 5
#define PEER_TIMEOUT_S 30
#define LINE_MAX_BYTES 4096u
#define FRAME_MAX_BYTES (1024 * 1024)

typedef struct {
    const ImageFetch *fetch;
    GInputStream *input;
    int fd;
    char *block; /* FRAME_MAX_BYTES */
} Receiving;

/* GIO's word for it, in ours. */
static gboolean lost(const ImageFetch *fetch, GError *problem, GError **error)
{
    gboolean cancelled = g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_CANCELLED);
    g_set_error(error, HOLDFAST_ERROR, cancelled ? HOLDFAST_ERROR_CANCELLED : HOLDFAST_ERROR_UNAVAILABLE,
                "image '%s' from %s: %s", fetch->image, fetch->node, problem ? problem->message : "hung up");
    g_clear_error(&problem);
    return FALSE;
}

/* ---- connecting ---- */

static GSocketConnection *address_connect(const ImageFetch *fetch, const char *address, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_socket_client_set_timeout(client, CONNECT_TIMEOUT_S);
    g_socket_client_set_enable_proxy(client, FALSE);
    GSocketConnection *connection =
        g_socket_client_connect_to_host(client, address, (guint16) fetch->port, fetch->cancellable, error);
    if (connection) {
        g_socket_set_timeout(g_socket_connection_get_socket(connection), PEER_TIMEOUT_S);
    }
    return connection;
}

static GSocketConnection *node_connect(const ImageFetch *fetch, GError **error)
{
    g_autoptr(GError) problem = NULL;
    GSocketConnection *connection = NULL;
    for (const char *const *address = fetch->addresses; *address && !connection; address++) {
        g_clear_error(&problem);
        connection = address_connect(fetch, *address, &problem);
    }
    if (!connection) {
        lost(fetch, g_steal_pointer(&problem), error);
    }
    return connection;
}

/* Both sides are checked: ours by the server, and the other's by the CA and the name of the node. */
static GIOStream *tls_open(const ImageFetch *fetch, GSocketConnection *connection, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *certificate_file = setup_path(fetch->context, NODE_CERT_FILE);
    g_autofree char *key_file = setup_path(fetch->context, NODE_KEY_FILE);
    g_autofree char *authority_file = setup_path(fetch->context, NODE_CA_FILE);
    g_autoptr(GTlsCertificate) certificate = g_tls_certificate_new_from_files(certificate_file, key_file, &problem);
    g_autoptr(GTlsDatabase) authority = certificate ? g_tls_file_database_new(authority_file, &problem) : NULL;
    g_autoptr(GSocketConnectable) identity = g_network_address_new(fetch->node, (guint16) fetch->port);
    g_autoptr(GIOStream) tls =
        authority ? g_tls_client_connection_new(G_IO_STREAM(connection), identity, &problem) : NULL;
    if (tls) {
        g_object_set(tls, "certificate", certificate, "database", authority, NULL);
    }
    if (!tls || !g_tls_connection_handshake(G_TLS_CONNECTION(tls), fetch->cancellable, &problem)) {
        lost(fetch, g_steal_pointer(&problem), error);
        return NULL;
    }
    return g_steal_pointer(&tls);
}

/* ---- receiving ---- */

/* Ask; TRUE when frames follow. */
static gboolean image_request(const ImageFetch *fetch, JoinWire *wire, GError **error)
{
    g_autoptr(json_t) request =
        json_pack("{s:i,s:s,s:s}", "v", 1, "image", fetch->image, "sha256", fetch->sha256 ? fetch->sha256 : "");
    g_autoptr(json_t) go = json_pack("{s:b}", "go", 1);
    g_autoptr(json_t) answer = join_wire_send(wire, request, error) ? join_wire_receive(wire, error) : NULL;
    if (!answer || join_wire_is_error(answer, error)) {
        g_prefix_error(error, "image '%s' from %s: ", fetch->image, fetch->node);
        return FALSE;
    }
    if (json_integer_value(json_object_get(answer, "size")) != fetch->size_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "image '%s' has %" G_GINT64_FORMAT " bytes on %s, %" G_GINT64_FORMAT " were imported", fetch->image,
                    (gint64) json_integer_value(json_object_get(answer, "size")), fetch->node, fetch->size_bytes);
        return FALSE;
    }
    return image_folder_has_room(fetch->folder, fetch->image, json_integer_value(json_object_get(answer, "data")),
                                 error) &&
           join_wire_send(wire, go, error);
}

static gboolean input_read(const Receiving *receiving, void *buffer, gsize length, GError **error)
{
    g_autoptr(GError) problem = NULL;
    gsize got = 0;
    gboolean ok =
        g_input_stream_read_all(receiving->input, buffer, length, &got, receiving->fetch->cancellable, &problem) &&
        got == length;
    return ok || lost(receiving->fetch, g_steal_pointer(&problem), error);
}

static gboolean block_write(const Receiving *receiving, gsize length, gint64 offset, GError **error)
{
    for (gsize put = 0; put < length;) {
        ssize_t n = pwrite(receiving->fd, receiving->block + put, length - put, offset + (gint64) put);
        if (n < 0 && errno != EINTR) {
            return holdfast_error_set_errno(error, errno, "cannot write the copy of image '%s'",
                                            receiving->fetch->image);
        }
        put += n > 0 ? (gsize) n : 0;
    }
    return TRUE;
}

/* Next frame into the file. *ret_end: it was the last. */
static gboolean frame_receive(const Receiving *receiving, gint64 *position, gboolean *ret_end, GError **error)
{
    const ImageFetch *fetch = receiving->fetch;
    guint64 head[2];
    if (!input_read(receiving, head, sizeof(head), error)) {
        return FALSE;
    }
    guint64 offset = GUINT64_FROM_BE(head[0]), length = GUINT64_FROM_BE(head[1]);
    *ret_end = length == 0;
    if (length > FRAME_MAX_BYTES || offset < (guint64) *position || offset > (guint64) fetch->size_bytes ||
        length > (guint64) fetch->size_bytes - offset) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "image '%s': %s sends what is no part of it",
                    fetch->image, fetch->node);
        return FALSE;
    }
    *position = (gint64) (offset + length);
    return *ret_end || (input_read(receiving, receiving->block, length, error) &&
                        block_write(receiving, length, (gint64) offset, error));
}

static gboolean frames_receive(const Receiving *receiving, GError **error)
{
    const ImageFetch *fetch = receiving->fetch;
    gint64 position = 0;
    gboolean end = FALSE;
    while (!end) {
        if (!frame_receive(receiving, &position, &end, error)) {
            return FALSE;
        }
        if (fetch->on_received) {
            fetch->on_received(position, fetch->size_bytes, fetch->user_data);
        }
    }
    return fsync(receiving->fd) == 0 ||
           holdfast_error_set_errno(error, errno, "cannot flush the copy of image '%s'", fetch->image);
}

/* What is not sent reads zero, since the file begins as one hole. */
static gboolean file_receive(const ImageFetch *fetch, GIOStream *tls, GError **error)
{
    g_autofree char *path = image_receiving_path(fetch->folder, fetch->image);
    g_autofree char *block = g_malloc(FRAME_MAX_BYTES);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0 || ftruncate(fd, fetch->size_bytes) != 0) {
        int err = errno;
        if (fd >= 0) {
            close(fd);
        }
        return holdfast_error_set_errno(error, err, "cannot make %s", path);
    }
    Receiving receiving = {.fetch = fetch, .input = g_io_stream_get_input_stream(tls), .fd = fd, .block = block};
    gboolean ok = frames_receive(&receiving, error);
    close(fd);
    return ok;
}

gboolean image_fetch(const ImageFetch *fetch, GError **error)
{
    g_autoptr(GSocketConnection) connection = node_connect(fetch, error);
    g_autoptr(GIOStream) tls = connection ? tls_open(fetch, connection, error) : NULL;
    if (!tls) {
        return FALSE;
    }
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, fetch->cancellable, LINE_MAX_BYTES);
    gboolean received = image_request(fetch, &wire, error) && file_receive(fetch, tls, error);
    g_io_stream_close(tls, NULL, NULL);
    if (received &&
        image_adopt(fetch->folder, fetch->image, fetch->size_bytes, fetch->sha256, fetch->cancellable, error)) {
        return TRUE;
    }
    if (received) {
        g_prefix_error(error, "from %s: ", fetch->node);
    }
    g_autofree char *path = image_receiving_path(fetch->folder, fetch->image);
    unlink(path);
    return FALSE;
}
