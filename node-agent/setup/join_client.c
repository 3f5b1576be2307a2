/* SPDX-License-Identifier: Apache-2.0
 * The joiner's half of a join. Any certificate is accepted in the handshake, since the CA is not known yet; the
 * server's proof over the fingerprint of exactly that certificate is what makes it trusted, and nothing is sent before.
 */
#include "node-agent/setup/join_client.h"

#include "common/error.h"
#include "common/json.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/context.h"

#include <string.h>

#define CONNECT_TIMEOUT_S 10
#define ANSWER_TIMEOUT_S 240 /* the other side may wait for etcd before it answers a step */

struct JoinClient {
    GSocketConnection *connection;
    GIOStream *tls;
    JoinWire wire;
    char *proof; /* ours, for the request */
};

void join_client_free(JoinClient *client)
{
    if (!client) {
        return;
    }
    join_wire_clear(&client->wire);
    if (client->tls) {
        g_io_stream_close(client->tls, NULL, NULL);
    }
    g_clear_object(&client->tls);
    g_clear_object(&client->connection);
    g_free(client->proof);
    g_free(client);
}

void join_bundle_free(JoinBundle *bundle)
{
    if (bundle) {
        json_struct_clear(&join_bundle_type, bundle);
        g_free(bundle);
    }
}

static gboolean on_accept_certificate(GTlsConnection *connection G_GNUC_UNUSED,
                                      GTlsCertificate *certificate G_GNUC_UNUSED,
                                      GTlsCertificateFlags problems G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean client_connect(JoinClient *client, const char *address, int port, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GSocketClient) connector = g_socket_client_new();
    g_socket_client_set_timeout(connector, CONNECT_TIMEOUT_S);
    g_socket_client_set_enable_proxy(connector, FALSE);
    client->connection = g_socket_client_connect_to_host(connector, address, (guint16) port, NULL, &problem);
    if (client->connection) {
        client->tls = g_tls_client_connection_new(G_IO_STREAM(client->connection), NULL, &problem);
    }
    if (client->tls) {
        g_signal_connect(client->tls, "accept-certificate", G_CALLBACK(on_accept_certificate), NULL);
    }
    if (!client->tls || !g_tls_connection_handshake(G_TLS_CONNECTION(client->tls), NULL, &problem)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "join.address: no member answers at %s:%d: %s",
                    address, port, problem->message);
        return FALSE;
    }
    g_socket_set_timeout(g_socket_connection_get_socket(client->connection), ANSWER_TIMEOUT_S);
    join_wire_init(&client->wire, client->tls, NULL, JOIN_LINE_MAX_BYTES);
    return TRUE;
}

static json_t *client_ask(JoinClient *client, const json_t *message, GError **error)
{
    if (!join_wire_send(&client->wire, message, error)) {
        return NULL;
    }
    g_autoptr(json_t) answer = join_wire_receive(&client->wire, error);
    if (!answer || join_wire_is_error(answer, error)) {
        return NULL;
    }
    return g_steal_pointer(&answer);
}

static gboolean client_hello(JoinClient *client, const char *id, const char *secret, GError **error)
{
    g_autofree char *nonce = setup_random_hex(JOIN_NONCE_BYTES);
    g_autoptr(json_t) hello =
        json_pack("{s:i,s:{s:s,s:s}}", "v", JOIN_WIRE_VERSION, "hello", "token_id", id, "nonce", nonce);
    g_autoptr(json_t) answer = client_ask(client, hello, error);
    if (!answer) {
        return FALSE;
    }
    GTlsCertificate *certificate = g_tls_connection_get_peer_certificate(G_TLS_CONNECTION(client->tls));
    const char *nonce_server = json_string_value(json_object_get(answer, "nonce"));
    const char *proof = json_string_value(json_object_get(answer, "proof"));
    if (!certificate || !join_is_hex(nonce_server, 2 * JOIN_NONCE_BYTES) || !proof) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED,
                    "join.address: what answers there does not speak this protocol");
        return FALSE;
    }
    g_autofree char *expected = join_proof(secret, "server", nonce, nonce_server, certificate);
    if (!join_proof_equal(proof, expected)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED,
                    "join.address: what answers there does not know this token's secret, so it is no member of the "
                    "cluster that made the "
                    "token, or somebody is in between: check address and token");
        return FALSE;
    }
    client->proof = join_proof(secret, "client", nonce, nonce_server, certificate);
    return TRUE;
}

JoinClient *join_client_open(const char *address, int port, const char *token, GError **error)
{
    g_autofree char *id = NULL, *secret = NULL;
    if (!join_token_split(token, "join.token", &id, &secret, error)) {
        return NULL;
    }
    g_autoptr(JoinClient) client = g_new0(JoinClient, 1);
    if (!client_connect(client, address, port, error) || !client_hello(client, id, secret, error)) {
        return NULL;
    }
    return g_steal_pointer(&client);
}

JoinBundle *join_client_request(JoinClient *client, const JoinRequest *request, GError **error)
{
    g_autoptr(json_t) message = json_struct_encode(&join_request_type, request);
    json_object_set_new(message, "proof", json_string(client->proof));
    if (!request->fence.agent) {
        json_object_del(message, "fence");
    }
    g_autoptr(json_t) answer = client_ask(client, message, error);
    g_autoptr(JoinBundle) bundle = g_new0(JoinBundle, 1);
    if (!answer || !json_struct_decode(answer, &join_bundle_type, "answer", bundle, error)) {
        return NULL;
    }
    return g_steal_pointer(&bundle);
}

gboolean join_client_say(JoinClient *client, const char *word, GError **error)
{
    g_autoptr(json_t) message = json_pack("{s:b}", word, 1);
    g_autoptr(json_t) answer = client_ask(client, message, error);
    return answer != NULL;
}
