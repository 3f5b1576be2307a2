/* SPDX-License-Identifier: Apache-2.0
 * Two black boxes in one process, with real TLS over loopback and certificates of a real CA: resuming, gaps, and peers
 * that hang, send garbage or are no peers. */
#include "cluster/node_config.h"
#include "common/file.h"
#include "node-agent/blackbox_internal.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/tls.h"

#include <curl/curl.h>
#include <glib/gstdio.h>
#include <string.h>

#define BOOT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LONG_US (60 * (gint64) G_USEC_PER_SEC)

typedef struct {
    char *ca, *certificate, *key;
} Papers;

/* n1 streams to n2. `stranger` has a certificate of another CA. */
typedef struct {
    char *folder;
    Papers n1, n2, n3, stranger;
    BlackboxConfig out_config, in_config;
    Blackbox *out, *in;
    GMainContext *context;
    GMainLoop *loop;
    GThread *thread;
} Fixture;

static SetupContext setup_context(const char *prefix)
{
    return (SetupContext){.prefix = prefix, .runner = process_runner_default(), .testing = TRUE};
}

/* A node's key and certificate, signed with the CA under `authority`. */
static Papers papers_make(const char *folder, const char *authority, const char *node)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *ca_prefix = g_build_filename(folder, authority, NULL);
    g_autofree char *prefix = g_strdup_printf("%s/%s-%s", folder, authority, node);
    SetupContext ca = setup_context(ca_prefix), own = setup_context(prefix);
    tls_ca_ensure(&ca, "demo", &error);
    g_assert_no_error(error);
    tls_key_ensure(&own, &error);
    g_assert_no_error(error);
    g_autofree char *request = tls_request(&own, node, &error);
    g_assert_no_error(error);
    g_autofree char *signed_text = tls_sign(&ca, request, node, "127.0.0.1", NULL, FALSE, &error);
    g_assert_no_error(error);
    Papers papers = {.ca = setup_path(&ca, NODE_CA_FILE),
                     .certificate = setup_path(&own, NODE_CERT_FILE),
                     .key = setup_path(&own, NODE_KEY_FILE)};
    g_assert_true(file_write_durable(papers.certificate, signed_text, -1, 0600, &error));
    return papers;
}

static void papers_clear(Papers *papers)
{
    g_free(papers->ca);
    g_free(papers->certificate);
    g_free(papers->key);
}

static GPtrArray *one_peer(gpointer name)
{
    GPtrArray *peers = g_ptr_array_new();
    BlackboxPeer *peer = g_new0(BlackboxPeer, 1);
    peer->name = g_strdup(name);
    peer->addresses[0] = g_strdup("127.0.0.1");
    g_ptr_array_add(peers, peer);
    return peers;
}

static BlackboxConfig config_of(const char *node, const char *folder, const Papers *papers, const char *peer)
{
    return (BlackboxConfig){.node = node,
                            .folder = folder,
                            .ca_file = papers->ca,
                            .certificate_file = papers->certificate,
                            .key_file = papers->key,
                            .ring_bytes = 65536,
                            .tail_bytes = 16384,
                            .quiet_ms = 50,
                            .patience_ms = 1000,
                            .retry_ms = 20,
                            .retry_max_ms = 100,
                            .peers = one_peer,
                            .user_data = (gpointer) peer};
}

static gpointer run_loop(gpointer user_data)
{
    Fixture *fixture = user_data;
    g_main_context_push_thread_default(fixture->context);
    g_main_loop_run(fixture->loop);
    g_main_context_pop_thread_default(fixture->context);
    return NULL;
}

static void in_start(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    int port = 0;
    g_main_context_push_thread_default(fixture->context);
    fixture->in = blackbox_new(&fixture->in_config);
    blackbox_listen(fixture->in, "127.0.0.1", &port, &error);
    g_main_context_pop_thread_default(fixture->context);
    g_assert_no_error(error);
    fixture->in_config.port = fixture->out_config.port = port; /* the same one at the next start */
    fixture->loop = g_main_loop_new(fixture->context, FALSE);
    fixture->thread = g_thread_new("accept", run_loop, fixture);
}

static gboolean on_quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

static void in_stop(Fixture *fixture)
{
    g_autoptr(GSource) quit = g_idle_source_new(); /* the loop may not be running yet */
    g_source_set_callback(quit, on_quit, fixture->loop, NULL);
    g_source_attach(quit, fixture->context);
    g_thread_join(fixture->thread);
    g_main_loop_unref(fixture->loop);
    blackbox_free(fixture->in);
    fixture->in = NULL;
}

static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->folder = g_dir_make_tmp("holdfast-blackbox-XXXXXX", NULL);
    fixture->n1 = papers_make(fixture->folder, "ca", "n1");
    fixture->n2 = papers_make(fixture->folder, "ca", "n2");
    fixture->n3 = papers_make(fixture->folder, "ca", "n3");
    fixture->stranger = papers_make(fixture->folder, "otherca", "n1");
    fixture->context = g_main_context_new();
    fixture->in_config = config_of("n2", g_build_filename(fixture->folder, "kept", NULL), &fixture->n2, "n1");
    fixture->out_config = config_of("n1", g_build_filename(fixture->folder, "own", NULL), &fixture->n1, "n2");
    in_start(fixture);
    fixture->out = blackbox_new(&fixture->out_config);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    blackbox_free(fixture->out);
    if (fixture->in) {
        in_stop(fixture);
    }
    g_main_context_unref(fixture->context);
    g_assert_true(
        process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", fixture->folder, NULL));
    g_free((char *) fixture->in_config.folder);
    g_free((char *) fixture->out_config.folder);
    papers_clear(&fixture->n1);
    papers_clear(&fixture->n2);
    papers_clear(&fixture->n3);
    papers_clear(&fixture->stranger);
    g_free(fixture->folder);
}

static void log_some(Fixture *fixture, gint64 from, gint64 to)
{
    for (gint64 at = from; at <= to; at++) {
        g_autofree char *text = g_strdup_printf("line %" G_GINT64_FORMAT, at);
        g_autoptr(BlackboxLine) line =
            blackbox_line_new(BLACKBOX_LOG, BOOT_A, at, g_get_real_time(), 5, "corosync", text);
        blackbox_take(fixture->out, line);
    }
}

static void wait_for_place(Fixture *fixture, gint64 mono_us)
{
    gint64 deadline_us = g_get_monotonic_time() + LONG_US;
    BlackboxPlace place;
    do {
        g_usleep(5000);
        place = blackbox_ring_place(blackbox_ring(fixture->in, "n1"));
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
    } while (place.mono_us < mono_us);
}

typedef struct {
    guint logs, gaps, clocks, heard;
    gint64 last;
    gboolean in_order;
} Kept;

static void count(const char *node, BlackboxLine *line, gpointer user_data)
{
    Kept *kept = user_data;
    g_assert_cmpstr(node, ==, "n1");
    kept->logs += line->kind == BLACKBOX_LOG ? 1 : 0;
    kept->gaps += line->kind == BLACKBOX_GAP ? 1 : 0;
    kept->clocks += line->kind == BLACKBOX_CLOCK ? 1 : 0;
    kept->heard += line->kind == BLACKBOX_HEARD ? 1 : 0;
    if (line->boot[0] != '\0') {
        kept->in_order &= line->mono_us > kept->last;
        kept->last = line->mono_us;
    }
}

static Kept kept_by(Blackbox *box)
{
    Kept kept = {.in_order = TRUE};
    blackbox_each(box, count, &kept);
    return kept;
}

static void test_lines_arrive_once(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    log_some(fixture, 1, 60); /* more than one message takes */
    blackbox_tend(fixture->out, "n2");
    wait_for_place(fixture, 60);
    log_some(fixture, 61, 70);
    wait_for_place(fixture, 70);
    in_stop(fixture);
    log_some(fixture, 71, 80);
    in_start(fixture);
    wait_for_place(fixture, 80);
    Kept kept = kept_by(fixture->in);
    g_assert_cmpuint(kept.logs, ==, 80);
    g_assert_cmpuint(kept.gaps, ==, 0);
    g_assert_cmpuint(kept.clocks, >=, 1);
    g_assert_cmpuint(kept.heard, >=, 1); /* the first connection's end */
    g_assert_true(kept.in_order);
    g_assert_cmpint(blackbox_heard_us(fixture->in, "n1"), >, 0);
    g_assert_cmpint(blackbox_heard_us(fixture->in, "n9"), ==, 0);
}

static void test_a_long_break_is_a_gap(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    log_some(fixture, 1, 5);
    blackbox_tend(fixture->out, "n2");
    wait_for_place(fixture, 5);
    in_stop(fixture);
    log_some(fixture, 6, 500); /* more than the sender remembers */
    in_start(fixture);
    wait_for_place(fixture, 500);
    Kept kept = kept_by(fixture->in);
    g_assert_cmpuint(kept.gaps, ==, 1);
    g_assert_cmpuint(kept.logs, <, 400);
    g_assert_true(kept.in_order);
}

/* Who dials with these papers; NULL when the other side does not let it in. */
static GIOStream *dial(const Fixture *fixture, const Papers *papers, GError **error)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, "127.0.0.1", (guint16) fixture->in_config.port, NULL, error);
    g_assert_nonnull(connection);
    g_socket_set_timeout(g_socket_connection_get_socket(connection), 30);
    g_autoptr(GSocketConnectable) identity = g_network_address_new("n2", 1);
    g_autoptr(GTlsDatabase) authority = g_tls_file_database_new(fixture->n1.ca, NULL);
    GIOStream *tls = g_tls_client_connection_new(G_IO_STREAM(connection), identity, NULL);
    g_tls_connection_set_database(G_TLS_CONNECTION(tls), authority);
    if (papers) {
        g_autoptr(GTlsCertificate) own = g_tls_certificate_new_from_files(papers->certificate, papers->key, NULL);
        g_tls_connection_set_certificate(G_TLS_CONNECTION(tls), own);
    }
    g_tls_connection_handshake(G_TLS_CONNECTION(tls), NULL, NULL); /* TLS 1.3: a refusal may come with the first read */
    return tls;
}

/* The code of the refusal, or "closed". Caller frees. */
static char *refusal_to(Fixture *fixture, const Papers *papers, const char *const *questions)
{
    g_autoptr(GIOStream) tls = dial(fixture, papers, NULL);
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, NULL, BLACKBOX_WIRE_LINE_MAX_BYTES);
    for (; *questions; questions++) {
        GOutputStream *output = g_io_stream_get_output_stream(tls);
        g_output_stream_write_all(output, *questions, strlen(*questions), NULL, NULL, NULL);
        g_autoptr(json_t) answer = join_wire_receive(&wire, NULL);
        const json_t *problem = json_object_get(answer, "error");
        if (!answer || problem) {
            return g_strdup(answer ? json_string_value(json_object_get(problem, "code")) : "closed");
        }
    }
    return g_strdup("welcome");
}

#define HELLO "{\"v\":1,\"blackbox\":\"n1\",\"t\":1}\n"
#define LINE(kind, mono)                                                                                               \
    "{\"k\":\"" kind "\",\"b\":\"" BOOT_A "\",\"m\":" mono ",\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\"}"

static void test_who_may_stream(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    static const char *const hello[] = {HELLO, NULL};
    const struct {
        const Papers *papers;
        const char *outcome;
    } callers[] = {{&fixture->n1, "welcome"},
                   {&fixture->n3, "denied"},
                   {&fixture->n2, "denied"},
                   {&fixture->stranger, "closed"},
                   {NULL, "closed"}};
    for (gsize i = 0; i < G_N_ELEMENTS(callers); i++) {
        g_autofree char *outcome = refusal_to(fixture, callers[i].papers, hello);
        g_assert_cmpstr(outcome, ==, callers[i].outcome);
    }
}

static void test_garbage_ends_the_stream(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    const struct {
        const char *questions[3];
        const char *outcome;
    } cases[] = {
        {{"{\"v\":2,\"blackbox\":\"n1\"}\n"}, "unsupported"},
        {{"{\"v\":1,\"blackbox\":\"n3\"}\n"}, "invalid"},
        {{"[]\n"}, "invalid"},
        {{"\x80\xff\n"}, "invalid"},
        {{HELLO, "{\"lines\":7}\n"}, "invalid"},
        {{HELLO, "{\"lines\":[" LINE("clock", "9") "]}\n"}, "invalid"},
        {{HELLO, "{\"lines\":[" LINE("log", "-9") "]}\n"}, "invalid"},
        {{HELLO, "{\"lines\":[" LINE("log", "9") "],\"offset_us\":\"x\"}\n"}, "welcome"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *outcome = refusal_to(fixture, &fixture->n1, cases[i].questions);
        g_assert_cmpstr(outcome, ==, cases[i].outcome);
    }
    g_assert_cmpuint(kept_by(fixture->in).logs, ==, 1);
    /* The true n1 is served as before. */
    log_some(fixture, 10, 20);
    blackbox_tend(fixture->out, "n2");
    wait_for_place(fixture, 20);
    g_assert_cmpuint(kept_by(fixture->in).logs, ==, 12);
}

/* A line without an end is not collected for ever. */
static void test_endless_line(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GIOStream) tls = dial(fixture, &fixture->n1, NULL);
    g_autofree char *chunk = g_strnfill(65536, 'x');
    gsize sent = 0;
    while (sent < 64u * 1024 * 1024 &&
           g_output_stream_write_all(g_io_stream_get_output_stream(tls), chunk, 65536, NULL, NULL, NULL)) {
        sent += 65536;
    }
    g_assert_cmpuint(sent, <, 64u * 1024 * 1024);
}

/* One connection that says nothing after its greeting does not keep a newer one of the same node out. */
static void test_a_hanging_peer(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GIOStream) tls = dial(fixture, &fixture->n1, NULL);
    g_auto(JoinWire) wire = {0};
    join_wire_init(&wire, tls, NULL, BLACKBOX_WIRE_LINE_MAX_BYTES);
    g_output_stream_write_all(g_io_stream_get_output_stream(tls), HELLO, strlen(HELLO), NULL, NULL, NULL);
    g_autoptr(json_t) answer = join_wire_receive(&wire, NULL);
    g_assert_nonnull(json_object_get(answer, "have"));
    log_some(fixture, 1, 3);
    blackbox_tend(fixture->out, "n2");
    wait_for_place(fixture, 3);
    g_autoptr(json_t) ended = join_wire_receive(&wire, NULL);
    g_assert_null(json_object_get(ended, "lines"));
}

/* A server that accepts and then hangs holds up its own sender only: taking lines goes on, and stopping works. */
static void test_a_hanging_server(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    in_stop(fixture);
    g_autoptr(GSocketListener) deaf = g_socket_listener_new();
    guint16 port = g_socket_listener_add_any_inet_port(deaf, NULL, NULL);
    fixture->out_config.port = port;
    blackbox_tend(fixture->out, "n2");
    g_autoptr(GSocketConnection) connection = g_socket_listener_accept(deaf, NULL, NULL, NULL);
    g_assert_nonnull(connection);
    log_some(fixture, 1, 2000);
    g_assert_cmpint(blackbox_ring_place(blackbox_ring(fixture->out, "n1")).mono_us, ==, 2000);
}

#define ADD(name, function) g_test_add("/blackbox/stream/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* As in holdfastd libcurl brings GnuTLS from the start: the leak checker trips over one that is loaded later. */
    g_assert_nonnull(curl_version());
    ADD("once", test_lines_arrive_once);
    ADD("gap", test_a_long_break_is_a_gap);
    ADD("who", test_who_may_stream);
    ADD("garbage", test_garbage_ends_the_stream);
    ADD("endless", test_endless_line);
    ADD("hanging-peer", test_a_hanging_peer);
    ADD("hanging-server", test_a_hanging_server);
    return g_test_run();
}
