/* SPDX-License-Identifier: Apache-2.0
 * Who is not let in: wrong, used and expired tokens, false members, somebody in the middle, garbage, and a second join
 * at the same time. */
#include "tests/unit/node-agent/join_fixture.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/reset.h"

static void test_refusals(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    g_autofree char *wrong_secret = g_strdup_printf("%.9s%s", token, "00000000000000000000000000000000");
    /* The member's proof is made with another secret than ours: for the joiner this is no member, and it says nothing
     * more. */
    g_assert_false(join(fixture, 1, "n2", wrong_secret, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_assert_nonnull(strstr(error->message, "does not know this token's secret"));
    g_clear_error(&error);
    g_assert_false(join(fixture, 1, "n2", "00000000.00000000000000000000000000000000", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_clear_error(&error);

    /* Names and addresses that are taken; the token stays good. */
    g_assert_true(reset_run(&fixture->machines[1].context, NULL));
    g_assert_false(join(fixture, 1, "n1", token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_EXISTS);
    g_clear_error(&error);

    /* Expired: what the end of its lease does. */
    g_autofree char *id = g_strndup(token, 8);
    g_autofree char *key = g_strconcat(JOIN_TOKEN_PREFIX, id, NULL);
    g_autoptr(StoreEntry) entry = store_get(fixture->store, key, NULL, NULL);
    g_assert_nonnull(entry);
    g_assert_cmpint(entry->lease, !=, 0);
    g_assert_true(store_lease_revoke(fixture->store, entry->lease, NULL));
    g_assert_true(reset_run(&fixture->machines[1].context, NULL));
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/n2", NULL, NULL));
}

static gboolean accept_any(GTlsConnection *connection G_GNUC_UNUSED, GTlsCertificate *certificate G_GNUC_UNUSED,
                           GTlsCertificateFlags problems G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
    return TRUE;
}

typedef struct {
    GSocketConnection *connection;
    GIOStream *tls;
    JoinWire wire;
} Raw;

static void raw_open(Raw *raw, Fixture *fixture)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GError) error = NULL;
    raw->connection = g_socket_client_connect_to_host(client, fixture->machines[0].ring0,
                                                      (guint16) fixture->machines[2].context.join_port, NULL, &error);
    g_assert_no_error(error);
    raw->tls = g_tls_client_connection_new(G_IO_STREAM(raw->connection), NULL, &error);
    g_assert_no_error(error);
    g_signal_connect(raw->tls, "accept-certificate", G_CALLBACK(accept_any), NULL);
    g_assert_true(g_tls_connection_handshake(G_TLS_CONNECTION(raw->tls), NULL, &error));
    join_wire_init(&raw->wire, raw->tls, NULL, JOIN_LINE_MAX_BYTES);
}

static void raw_close(Raw *raw)
{
    join_wire_clear(&raw->wire);
    g_io_stream_close(raw->tls, NULL, NULL);
    g_clear_object(&raw->tls);
    g_clear_object(&raw->connection);
}

static void raw_say(Raw *raw, const char *text)
{
    g_output_stream_write_all(g_io_stream_get_output_stream(raw->tls), text, strlen(text), NULL, NULL, NULL);
}

static void raw_expect_error(Raw *raw, int code)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) answer = join_wire_receive(&raw->wire, &error);
    g_assert_no_error(error);
    g_assert_true(join_wire_is_error(answer, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
}

static void test_garbage(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *huge = g_strnfill(64 * 1024, 'x');
    const struct {
        const char *text;
        int code;
    } cases[] = {
        {"what?\n", HOLDFAST_ERROR_INVALID},
        {"[]\n", HOLDFAST_ERROR_INVALID},
        {"{\"v\":2}\n", HOLDFAST_ERROR_UNSUPPORTED},
        {"{\"v\":1,\"hello\":{\"token_id\":\"../../cl\",\"nonce\":\"00\"}}\n", HOLDFAST_ERROR_INVALID},
        {huge, HOLDFAST_ERROR_INVALID},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Raw raw = {0};
        raw_open(&raw, fixture);
        raw_say(&raw, cases[i].text);
        raw_expect_error(&raw, cases[i].code);
        raw_close(&raw);
    }

    /* A right hello, then a proof that is the server's own one sent back. */
    g_autofree char *token = token_new(fixture);
    g_autofree char *nonce = setup_random_hex(JOIN_NONCE_BYTES);
    g_autofree char *hello =
        g_strdup_printf("{\"v\":1,\"hello\":{\"token_id\":\"%.8s\",\"nonce\":\"%s\"}}\n", token, nonce);
    Raw raw = {0};
    raw_open(&raw, fixture);
    raw_say(&raw, hello);
    g_autoptr(json_t) answer = join_wire_receive(&raw.wire, NULL);
    g_autofree char *echo = g_strdup_printf("{\"proof\":\"%s\",\"node\":\"n2\",\"ring0\":\"127.0.0.9\",\"csr\":\"\"}\n",
                                            json_string_value(json_object_get(answer, "proof")));
    raw_say(&raw, echo);
    raw_expect_error(&raw, HOLDFAST_ERROR_DENIED);
    raw_close(&raw);
    g_assert_true(token_present(fixture, token));
}

/* Somebody in the middle: passes hello and proof on to the real member, but has another certificate. */
typedef struct {
    Fixture *fixture;
    GTlsCertificate *certificate;
    gboolean saw_more; /* the joiner went on although the proof was made for another certificate */
} Middle;

static gboolean middle_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection,
                           GObject *source G_GNUC_UNUSED, gpointer user_data)
{
    Middle *middle = user_data;
    g_autoptr(GIOStream) tls = g_tls_server_connection_new(G_IO_STREAM(connection), middle->certificate, NULL);
    if (!g_tls_connection_handshake(G_TLS_CONNECTION(tls), NULL, NULL)) {
        return TRUE;
    }
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, NULL, JOIN_LINE_MAX_BYTES);
    Raw raw = {0};
    raw_open(&raw, middle->fixture);
    g_autoptr(json_t) hello = join_wire_receive(&wire, NULL);
    g_assert_true(join_wire_send(&raw.wire, hello, NULL));
    g_autoptr(json_t) proof = join_wire_receive(&raw.wire, NULL);
    g_assert_true(join_wire_send(&wire, proof, NULL));
    g_autoptr(json_t) more = join_wire_receive(&wire, NULL);
    middle->saw_more = more != NULL;
    raw_close(&raw);
    return TRUE;
}

typedef struct {
    Fixture *fixture;
    const char *token;
    GError *error;
    gint done;
} Joiner;

static gpointer joiner_run(gpointer user_data)
{
    Joiner *joiner = user_data;
    join(joiner->fixture, 1, "n2", joiner->token, &joiner->error);
    g_atomic_int_set(&joiner->done, 1);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void test_middle(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *key = g_strconcat(fixture->folder, "/other.key", NULL);
    g_autofree char *cert = g_strconcat(fixture->folder, "/other.crt", NULL);
    g_assert_true(process_call(process_runner_default(), 30000, NULL, &error, "/usr/bin/openssl", "req", "-x509",
                               "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                               cert, "-subj", "/CN=other", NULL));
    g_autoptr(GTlsCertificate) certificate = g_tls_certificate_new_from_files(cert, key, &error);
    g_assert_no_error(error);
    Middle middle = {.fixture = fixture, .certificate = certificate};
    g_autoptr(GSocketService) service = g_threaded_socket_service_new(1);
    guint16 port = g_socket_listener_add_any_inet_port(G_SOCKET_LISTENER(service), NULL, &error);
    g_assert_no_error(error);
    g_signal_connect(service, "run", G_CALLBACK(middle_run), &middle);
    g_autofree char *token = token_new(fixture);

    /* The listener accepts in the main context, so the joiner runs in a thread of its own. */
    fixture->machines[1].context.join_port = port;
    Joiner joiner = {.fixture = fixture, .token = token};
    GThread *thread = g_thread_new("joiner", joiner_run, &joiner);
    while (!g_atomic_int_get(&joiner.done)) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_thread_join(thread);
    g_socket_service_stop(service);
    g_assert_error(joiner.error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_assert_false(middle.saw_more);
    g_error_free(joiner.error);
}

static void test_busy(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    gint64 lease = 0, revision = 0;
    g_autofree char *token = token_new(fixture);
    g_assert_true(join_lock_take(fixture->store, "removal of n7", &lease, &revision, &error));
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
    g_assert_nonnull(strstr(error->message, "n7"));
    g_clear_error(&error);
    g_assert_true(store_lease_revoke(fixture->store, lease, NULL));
    join(fixture, 1, "n2", token, &error);
    g_assert_no_error(error);
}

int main(int argc, char **argv)
{
    join_test_init(&argc, &argv);
    g_test_add("/join-session/refusals", Fixture, NULL, set_up, test_refusals, tear_down);
    g_test_add("/join-session/garbage", Fixture, NULL, set_up, test_garbage, tear_down);
    g_test_add("/join-session/middle", Fixture, NULL, set_up, test_middle, tear_down);
    g_test_add("/join-session/busy", Fixture, NULL, set_up, test_busy, tear_down);
    return g_test_run();
}
