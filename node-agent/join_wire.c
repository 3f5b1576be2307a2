/* SPDX-License-Identifier: Apache-2.0
 * Lines and proofs of the join protocol. */
#include "node-agent/join_wire.h"

#include "common/error.h"
#include "common/json.h"

#include <string.h>

#define TOKEN_ID_LENGTH 8
#define TOKEN_SECRET_LENGTH 32

void join_wire_init(JoinWire *wire, GIOStream *stream, GCancellable *cancellable, gsize line_max_bytes)
{
    *wire = (JoinWire){
        .stream = stream, .cancellable = cancellable, .buffer = g_byte_array_new(), .line_max_bytes = line_max_bytes};
}

void join_wire_clear(JoinWire *wire)
{
    g_clear_pointer(&wire->buffer, g_byte_array_unref);
}

static json_t *line_parse(JoinWire *wire, gsize length, GError **error)
{
    g_autoptr(json_t) object =
        json_text_parse((const char *) wire->buffer->data, (gssize) length, "join message", error);
    g_byte_array_remove_range(wire->buffer, 0, (guint) length + 1);
    if (object && !json_is_object(object)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "join message: must be a JSON object");
        return NULL;
    }
    return g_steal_pointer(&object);
}

json_t *join_wire_receive(JoinWire *wire, GError **error)
{
    GInputStream *input = g_io_stream_get_input_stream(wire->stream);
    for (;;) {
        const guint8 *end = wire->buffer->len ? memchr(wire->buffer->data, '\n', wire->buffer->len) : NULL;
        if (end) {
            return line_parse(wire, (gsize) (end - wire->buffer->data), error);
        }
        if (wire->buffer->len > wire->line_max_bytes) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "join message: longer than %" G_GSIZE_FORMAT " bytes", wire->line_max_bytes);
            return NULL;
        }
        guint8 chunk[4096];
        g_autoptr(GError) problem = NULL;
        gssize got = g_input_stream_read(input, chunk, sizeof(chunk), wire->cancellable, &problem);
        if (got <= 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "the other side ended the connection%s%s",
                        problem ? ": " : "", problem ? problem->message : "");
            return NULL;
        }
        g_byte_array_append(wire->buffer, chunk, (guint) got);
    }
}

gboolean join_wire_send(JoinWire *wire, const json_t *object, GError **error)
{
    g_autofree char *text = json_text_from(object);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    g_autoptr(GError) problem = NULL;
    if (!g_output_stream_write_all(g_io_stream_get_output_stream(wire->stream), line, strlen(line), NULL,
                                   wire->cancellable, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "the other side does not take what is sent: %s",
                    problem->message);
        return FALSE;
    }
    return TRUE;
}

gboolean join_wire_is_error(const json_t *answer, GError **error)
{
    const json_t *problem = json_object_get(answer, "error");
    if (!problem) {
        return FALSE;
    }
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *message = json_string_value(json_object_get(problem, "message"));
    g_set_error(error, HOLDFAST_ERROR, holdfast_error_from_name(code ? code : ""), "%s",
                message ? message : "the other side refused without a reason");
    return TRUE;
}

json_t *join_wire_error(const GError *error)
{
    return json_pack("{s:{s:s,s:s}}", "error", "code", holdfast_error_name(holdfast_error_code(error)), "message",
                     error ? error->message : "unknown");
}

char *join_proof(const char *secret, const char *role, const char *nonce_client, const char *nonce_server,
                 GTlsCertificate *server_certificate)
{
    g_autoptr(GByteArray) der = NULL;
    g_object_get(server_certificate, "certificate", &der, NULL);
    g_autofree char *fingerprint = g_compute_checksum_for_data(G_CHECKSUM_SHA256, der->data, der->len);
    g_autofree char *text = g_strjoin("|", role, nonce_client, nonce_server, fingerprint, NULL);
    return g_compute_hmac_for_string(G_CHECKSUM_SHA256, (const guchar *) secret, strlen(secret), text, -1);
}

gboolean join_proof_equal(const char *a, const char *b)
{
    gsize length = strlen(a);
    if (strlen(b) != length) {
        return FALSE;
    }
    int different = 0;
    for (gsize i = 0; i < length; i++) {
        different |= a[i] ^ b[i];
    }
    return different == 0;
}

gboolean join_is_hex(const char *text, gsize length)
{
    return text && strlen(text) == length && strspn(text, "0123456789abcdef") == length;
}

gboolean join_token_split(const char *token, const char *what, char **ret_id, char **ret_secret, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(token ? token : "", ".", 3);
    if (g_strv_length(parts) != 2 || !join_is_hex(parts[0], TOKEN_ID_LENGTH) ||
        !join_is_hex(parts[1], TOKEN_SECRET_LENGTH)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "%s: must be ID.SECRET of 8 and 32 hex digits, as `holdfast token create` on a member prints it",
                    what);
        return FALSE;
    }
    *ret_id = g_strdup(parts[0]);
    *ret_secret = g_strdup(parts[1]);
    return TRUE;
}
