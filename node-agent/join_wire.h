/* SPDX-License-Identifier: Apache-2.0
 * What both ends of a join speak: one JSON object per line over TLS, and the proof that each knows the token's secret.
 *
 *   C: {"v":1,"hello":{"token_id","nonce"}}          S: {"nonce","proof"}
 *   C: {"proof","node","ring0","ring1","csr","fence"} S: the bundle: certificates, keys, identity (join.c)
 *   C: {"ready":true} once all of it is on its disk   S: {"added":true}: the etcd member is added
 *   C: {"started":true} once its etcd runs            S: {"promoted":true}: the member votes
 *   C: {"done":true} once it is a full member         S: {"bye":true}: the token is gone
 *   C: {"ping":true} at any time after the bundle     S: {"pong":true}
 *   S: {"error":{"code","message"}} instead of any answer; the connection then ends.
 *
 * A joiner has no CA to check the server by, so it accepts any certificate and demands proof = HMAC-SHA256(secret,
 * "server|" nonce_c "|" nonce_s "|" SHA-256 of the server's certificate): somebody in the middle has another
 * certificate and cannot make that proof, nor pass on the real one. The joiner's own proof ("client|...") comes after
 * it has checked the server's. */
#pragma once

#include <gio/gio.h>
#include <jansson.h>

#define JOIN_WIRE_VERSION 1
#define JOIN_LINE_MAX_BYTES (256u * 1024)
#define JOIN_NONCE_BYTES 32

/* One end of a connection. Blocking; one thread at a time. */
typedef struct {
    GIOStream *stream; /* borrowed */
    GCancellable *cancellable;
    GByteArray *buffer;
    gsize line_max_bytes;
} JoinWire;

void join_wire_init(JoinWire *wire, GIOStream *stream, GCancellable *cancellable, gsize line_max_bytes);
void join_wire_clear(JoinWire *wire);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JoinWire, join_wire_clear)

/* Next object. UNAVAILABLE: the connection ended or broke; INVALID: not a JSON object, or too long. Caller owns it. */
json_t *join_wire_receive(JoinWire *wire, GError **error);
gboolean join_wire_send(JoinWire *wire, const json_t *object, GError **error);

/* An {"error"} answer as GError. TRUE when `answer` is one. */
gboolean join_wire_is_error(const json_t *answer, GError **error);
json_t *join_wire_error(const GError *error);

/* Lower-case hex; `role` "server" or "client". Caller frees. */
char *join_proof(const char *secret, const char *role, const char *nonce_client, const char *nonce_server,
                 GTlsCertificate *server_certificate);
/* In constant time. */
gboolean join_proof_equal(const char *a, const char *b);
/* "ID.SECRET" taken apart: 8 and 32 hex digits. INVALID, beginning with `what`. Caller frees both. */
gboolean join_token_split(const char *token, const char *what, char **ret_id, char **ret_secret, GError **error);
gboolean join_is_hex(const char *text, gsize length);
