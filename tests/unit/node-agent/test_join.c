/* SPDX-License-Identifier: Apache-2.0
 * Init and join end to end in one process: real TLS over loopback, real openssl and real etcd members, each node in a temporary folder of its own.
 * systemd, corosync and LVM are played by a runner. */
#include "cluster/cluster_config.h"
#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/join.h"
#include "node-agent/join_admit.h"
#include "node-agent/join_wire.h"
#include "node-agent/node_remove.h"
#include "node-agent/setup/init.h"
#include "node-agent/setup/join_client.h"
#include "node-agent/setup/join_run.h"
#include "node-agent/setup/member.h"
#include "node-agent/setup/reset.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define NODES_MAX 3

typedef struct {
    char *prefix, *ring0;
    ProcessRunner runner;
    SetupContext context;
    GSubprocess *etcd;
    char *fail_on;   /* a command that contains this fails, as if the machine had been switched off there */
    gboolean block_mark; /* node.json cannot be written from the start of corosync on */
    GString *calls;  /* what systemctl and corosync-cfgtool were asked */
    GMutex mutex;
} Machine;

typedef struct {
    char *folder;
    Machine machines[NODES_MAX];
    Store *store; /* of the first machine */
    NodeConfig *self;
    JoinServer *server;
    GMainContext *server_context;
    GMainLoop *server_loop;
    GThread *server_thread;
    GMutex mutex;
    GCond ready;
} Fixture;

static void die_with_parent(gpointer user_data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void etcd_stop(Machine *machine)
{
    if (machine->etcd) {
        g_subprocess_force_exit(machine->etcd);
        g_subprocess_wait(machine->etcd, NULL, NULL);
        g_clear_object(&machine->etcd);
    }
}

static void etcd_start(Machine *machine)
{
    g_autofree char *run = g_strconcat(machine->prefix, "/run/holdfast-etcd", NULL);
    g_autofree char *conf = g_strconcat(machine->prefix, "/etc/holdfast/etcd.yaml", NULL);
    g_autofree char *log = g_strconcat(machine->prefix, "/etcd.log", NULL);
    g_autofree char *socket = g_strconcat(run, "/etcd.sock:0", NULL);
    g_autoptr(GError) error = NULL;
    etcd_stop(machine);
    g_mkdir_with_parents(run, 0700);
    g_unlink(socket);
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
    g_subprocess_launcher_set_cwd(launcher, run);
    g_subprocess_launcher_set_stderr_file_path(launcher, log);
    g_subprocess_launcher_set_child_setup(launcher, die_with_parent, NULL, NULL);
    machine->etcd = g_subprocess_launcher_spawn(launcher, &error, "/usr/bin/etcd", "--config-file", conf, NULL);
    g_assert_no_error(error);
}

static gboolean machine_run(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms, ProcessResult *ret,
                            GError **error)
{
    Machine *machine = runner->user_data;
    g_autofree char *command = g_strjoinv(" ", (char **) argv);
    if (g_str_has_suffix(argv[0], "/openssl") || g_str_has_suffix(argv[0], "/rm")) {
        return process_runner_default()->run(process_runner_default(), argv, input, timeout_ms, ret, error);
    }
    g_mutex_lock(&machine->mutex);
    g_string_append_printf(machine->calls, "%s\n", command);
    gboolean fail = machine->fail_on && strstr(command, machine->fail_on);
    g_mutex_unlock(&machine->mutex);
    if (!fail && strstr(command, "systemctl restart holdfast-etcd.service")) {
        etcd_start(machine);
    }
    if (machine->block_mark && strstr(command, "restart corosync.service")) {
        g_autofree char *mark = g_strconcat(machine->prefix, NODE_CONFIG_PATH, NULL);
        g_assert_cmpint(g_mkdir(mark, 0700), ==, 0);
    }
    if (!fail && strstr(command, "systemctl stop") && strstr(command, "holdfast-etcd.service")) {
        etcd_stop(machine);
    }
    ret->exit_status = fail ? 1 : 0;
    ret->stdout_text = g_strdup("");
    ret->stderr_text = g_strdup(fail ? "switched off" : "");
    return TRUE;
}

static gboolean pool_create_fake(const ProcessRunner *runner G_GNUC_UNUSED, const char *device G_GNUC_UNUSED, GError **error G_GNUC_UNUSED)
{
    return TRUE;
}

static gboolean membership_fake(int timeout_ms G_GNUC_UNUSED, MembershipView *ret, GError **error G_GNUC_UNUSED)
{
    *ret = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 3, .nodes = {1, 2, 3}};
    return TRUE;
}

static void progress_quiet(const char *text)
{
    g_test_message("%s", text);
}

static int free_port(const char *address)
{
    g_autoptr(GSocket) socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL);
    g_autoptr(GSocketAddress) wanted = g_inet_socket_address_new_from_string(address, 0);
    g_assert_true(g_socket_bind(socket, wanted, FALSE, NULL));
    g_autoptr(GSocketAddress) bound = g_socket_get_local_address(socket, NULL);
    return g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
}

static void machine_init(Machine *machine, const char *folder, const char *network, int number, int client_port, int peer_port)
{
    machine->prefix = g_strdup_printf("%s/n%d", folder, number);
    machine->ring0 = g_strdup_printf("%s.%d", network, number);
    machine->calls = g_string_new(NULL);
    g_mutex_init(&machine->mutex);
    machine->runner = (ProcessRunner){.run = machine_run, .user_data = machine};
    machine->context = (SetupContext){.prefix = machine->prefix,
                                      .runner = &machine->runner,
                                      .etcd_client_port = client_port,
                                      .etcd_peer_port = peer_port,
                                      .testing = TRUE,
                                      .pool_create = pool_create_fake,
                                      .membership = membership_fake,
                                      .progress = progress_quiet,
                                      .poll_ms = 100,
                                      .wait_ms = 60000};
}

static Answers *answers_of(const Machine *machine, const char *name, const char *token)
{
    Answers *answers = g_new0(Answers, 1);
    answers->version = 1;
    answers->action = token ? ANSWERS_JOIN : ANSWERS_INIT;
    answers->cluster = g_strdup("demo");
    answers->node = g_strdup(name);
    answers->ring0 = g_strdup(machine->ring0);
    answers->storage_device = g_strdup("/dev/null");
    answers->corosync.token_ms = token ? 0 : 5000;
    return answers;
}

static gpointer serve(gpointer user_data)
{
    Fixture *fixture = user_data;
    g_autoptr(GError) error = NULL;
    g_main_context_push_thread_default(fixture->server_context);
    g_mutex_lock(&fixture->mutex);
    fixture->server = join_server_new(&fixture->machines[0].context, fixture->store, fixture->self, &error);
    g_assert_no_error(error);
    for (int i = 1; i < NODES_MAX; i++) {
        fixture->machines[i].context.join_port = join_server_port(fixture->server);
    }
    g_cond_signal(&fixture->ready);
    g_mutex_unlock(&fixture->mutex);
    g_main_loop_run(fixture->server_loop);
    join_server_free(fixture->server);
    fixture->server = NULL;
    g_main_context_pop_thread_default(fixture->server_context);
    return NULL;
}

static void server_start(Fixture *fixture)
{
    fixture->server_context = g_main_context_new();
    fixture->server_loop = g_main_loop_new(fixture->server_context, FALSE);
    g_mutex_lock(&fixture->mutex);
    fixture->server_thread = g_thread_new("server", serve, fixture);
    while (!fixture->server) {
        g_cond_wait(&fixture->ready, &fixture->mutex);
    }
    g_mutex_unlock(&fixture->mutex);
}

static void server_stop(Fixture *fixture)
{
    g_main_loop_quit(fixture->server_loop);
    g_thread_join(fixture->server_thread);
    g_main_loop_unref(fixture->server_loop);
    g_main_context_unref(fixture->server_context);
}

/* The first node, made by init_run() itself, and its join server. */
static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *network =
        g_strdup_printf("127.%d.%d", g_random_int_range(1, 250), g_random_int_range(1, 250));
    g_autofree char *first = g_strconcat(network, ".1", NULL);
    int client_port = free_port(first), peer_port = free_port(first);
    fixture->folder = g_dir_make_tmp("holdfast-join-XXXXXX", NULL);
    g_mutex_init(&fixture->mutex);
    g_cond_init(&fixture->ready);
    for (int i = 0; i < NODES_MAX; i++) {
        machine_init(&fixture->machines[i], fixture->folder, network, i + 1, client_port, peer_port);
    }
    Machine *machine = &fixture->machines[0];
    g_autoptr(Answers) answers = answers_of(machine, "n1", NULL);
    g_assert_true(answers_check(&machine->context, answers, NULL));
    init_run(&machine->context, answers, &error);
    g_assert_no_error(error);
    fixture->self = member_config_read(&machine->context, &error);
    g_assert_no_error(error);
    fixture->store = member_store(&machine->context, TRUE);
    server_start(fixture);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    server_stop(fixture);
    store_free(fixture->store);
    node_config_free(fixture->self);
    for (int i = 0; i < NODES_MAX; i++) {
        Machine *machine = &fixture->machines[i];
        etcd_stop(machine);
        g_free(machine->prefix);
        g_free(machine->ring0);
        g_free(machine->fail_on);
        g_string_free(machine->calls, TRUE);
        g_mutex_clear(&machine->mutex);
    }
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", fixture->folder, NULL));
    g_free(fixture->folder);
    g_mutex_clear(&fixture->mutex);
    g_cond_clear(&fixture->ready);
}

static char *token_new(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    char *token = NULL;
    join_token_create(fixture->store, 3600, &token, &error);
    g_assert_no_error(error);
    return token;
}

static gboolean token_present(Fixture *fixture, const char *token)
{
    g_autofree char *id = g_strndup(token, 8);
    g_autofree char *key = g_strconcat(JOIN_TOKEN_PREFIX, id, NULL);
    g_autoptr(StoreEntry) entry = store_get(fixture->store, key, NULL, NULL);
    return entry != NULL;
}

static gboolean join(Fixture *fixture, int index, const char *name, const char *token, GError **error)
{
    Machine *machine = &fixture->machines[index];
    g_autoptr(Answers) answers = answers_of(machine, name, token);
    answers->join.address = g_strdup(fixture->machines[0].ring0);
    answers->join.token = g_strdup(token);
    return answers_check(&machine->context, answers, error) && join_run(&machine->context, answers, error);
}

static guint count_voting_members(Fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) members = store_members(fixture->store, &error);
    g_assert_no_error(error);
    guint voting = 0;
    for (guint i = 0; i < members->len; i++) {
        const StoreMember *member = members->pdata[i];
        voting += *member->name && !member->learner;
    }
    return voting;
}

static void assert_same_file(Fixture *fixture, int index, const char *path)
{
    g_autofree char *a = g_strconcat(fixture->machines[0].prefix, path, NULL);
    g_autofree char *b = g_strconcat(fixture->machines[index].prefix, path, NULL);
    g_autofree char *text_a = NULL, *text_b = NULL;
    gsize length_a = 0, length_b = 0;
    g_assert_true(g_file_get_contents(a, &text_a, &length_a, NULL));
    g_assert_true(g_file_get_contents(b, &text_b, &length_b, NULL));
    g_assert_cmpmem(text_a, length_a, text_b, length_b);
}

static void test_init_again(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[0];
    g_autoptr(GError) error = NULL;
    g_autoptr(Answers) answers = answers_of(machine, "n1", NULL);
    g_assert_true(answers_check(&machine->context, answers, NULL));
    g_autoptr(ClusterConfig) before = cluster_config_load(fixture->store, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(before->name, ==, "demo");
    g_assert_cmpint(before->corosync.token_ms, ==, 5000);

    /* A kill just before the commit mark: everything runs again and keeps what is there. */
    g_autofree char *mark = g_strconcat(machine->prefix, NODE_CONFIG_PATH, NULL);
    g_autofree char *ca_path = g_strconcat(machine->prefix, NODE_CA_FILE, NULL);
    g_autofree char *ca = file_read(ca_path, 65536, NULL);
    g_assert_cmpint(g_unlink(mark), ==, 0);
    g_assert_true(init_run(&machine->context, answers, &error));
    g_assert_no_error(error);
    g_autofree char *ca_after = file_read(ca_path, 65536, NULL);
    g_assert_cmpstr(ca, ==, ca_after);
    g_autoptr(ClusterConfig) after = cluster_config_load(fixture->store, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(before->created_at, ==, after->created_at);

    /* With the mark it only starts the daemons, and refuses to become somebody else or to be reset. */
    g_assert_true(init_run(&machine->context, answers, &error));
    g_free(answers->cluster);
    answers->cluster = g_strdup("other");
    g_assert_false(init_run(&machine->context, answers, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(reset_run(&machine->context, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);

    /* Without the mark, other values are refused and reset clears the way. */
    g_assert_cmpint(g_unlink(mark), ==, 0);
    g_assert_false(init_run(&machine->context, answers, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_true(reset_run(&machine->context, &error));
    g_assert_true(init_run(&machine->context, answers, &error));
    g_assert_no_error(error);
}

static void test_three_nodes(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token2 = token_new(fixture);
    g_autofree char *token3 = token_new(fixture);
    join(fixture, 1, "n2", token2, &error);
    g_assert_no_error(error);
    g_assert_false(token_present(fixture, token2));
    g_assert_true(token_present(fixture, token3));
    join(fixture, 2, "n3", token3, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 3);
    g_assert_nonnull(strstr(fixture->machines[0].calls->str, "/usr/sbin/corosync-cfgtool -R"));

    const char *const shared[] = {"/etc/corosync/authkey", "/etc/corosync/corosync.conf", NODE_CA_FILE, NODE_CA_KEY_FILE, NODE_VOTERS_PATH};
    for (gsize i = 0; i < G_N_ELEMENTS(shared); i++) {
        assert_same_file(fixture, 2, shared[i]);
    }
    g_autoptr(NodeConfig) config = member_config_read(&fixture->machines[2].context, &error);
    g_assert_no_error(error);
    g_assert_cmpint(config->node_id, ==, 3);
    g_assert_cmpstr(config->cluster, ==, "demo");

    /* The third member's store, over mutual TLS with the certificate it was given, and with one of three gone. */
    etcd_stop(&fixture->machines[1]);
    g_autoptr(Store) third = member_store(&fixture->machines[2].context, FALSE);
    g_assert_true(store_put(third, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
    g_assert_no_error(error);

    /* Used up. */
    g_assert_false(join(fixture, 1, "n4", token2, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED); /* the machine is n2 */
}

static void test_remove(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    const SetupContext *context = &fixture->machines[0].context;
    g_autoptr(GError) error = NULL;
    g_autofree char *token2 = token_new(fixture);
    g_autofree char *token3 = token_new(fixture);
    g_assert_true(join(fixture, 1, "n2", token2, &error));
    g_assert_true(join(fixture, 2, "n3", token3, &error));
    g_assert_false(node_remove(context, fixture->store, "n1", "n9", FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(node_remove(context, fixture->store, "n1", "n3", TRUE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);

    g_autoptr(Guest) guest = object_new(&guest_type);
    guest->version = 1;
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->created_at = g_strdup("t");
    guest->slot = 1;
    guest->nodes = g_strsplit("n1,n3", ",", -1);
    guest->drbd_secret = g_strdup("00");
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 128;
    guest->spec.replicas = 2;
    g_autofree char *text = object_to_text(&guest_type, guest);
    g_assert_true(store_put(fixture->store, STORE_ROOT "guest/web1", text, 0, 0, NULL, NULL));
    g_assert_false(node_remove(context, fixture->store, "n1", "n3", FALSE, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "web1"));
    g_clear_error(&error);

    g_assert_true(store_delete(fixture->store, STORE_ROOT "guest/web1", -1, NULL));
    etcd_stop(&fixture->machines[2]);
    node_remove(context, fixture->store, "n1", "n3", FALSE, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/n3", NULL, NULL));
    g_autofree char *conf_path = g_strconcat(context->prefix, "/etc/corosync/corosync.conf", NULL);
    g_autofree char *conf = file_read(conf_path, 65536, NULL);
    g_assert_null(strstr(conf, "n3"));
    g_assert_nonnull(strstr(conf, "two_node: 1"));
}

static void test_refusals(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    g_autofree char *wrong_secret = g_strdup_printf("%.9s%s", token, "00000000000000000000000000000000");
    /* The member's proof is made with another secret than ours: for the joiner this is no member, and it says nothing more. */
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
    g_autofree char *hello = g_strdup_printf("{\"v\":1,\"hello\":{\"token_id\":\"%.8s\",\"nonce\":\"%s\"}}\n", token, nonce);
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

static gboolean middle_run(GThreadedSocketService *service G_GNUC_UNUSED, GSocketConnection *connection, GObject *source G_GNUC_UNUSED,
                           gpointer user_data)
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
    g_assert_true(process_call(process_runner_default(), 30000, NULL, &error, "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                               "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=other", NULL));
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

/* Switched off at three moments; the machine's etcd is gone each time, as after a power cut. */
static void test_resume(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[1];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    const char *const moments[] = {"restart holdfast-etcd.service", "restart corosync.service"};
    for (gsize i = 0; i < G_N_ELEMENTS(moments); i++) {
        machine->fail_on = g_strdup(moments[i]);
        g_assert_false(join(fixture, 1, "n2", token, &error));
        g_assert_nonnull(strstr(error->message, "switched off"));
        g_clear_error(&error);
        g_assert_true(token_present(fixture, token));
        etcd_stop(machine);
        g_clear_pointer(&machine->fail_on, g_free);
        /* A learner that is gone costs nothing: the first node goes on alone. */
        g_assert_true(store_put(fixture->store, STORE_ROOT "test", "{}", -1, 0, NULL, &error));
        g_assert_no_error(error);
    }
    /* The token is bound to n2 now. */
    g_assert_false(join(fixture, 2, "n3", token, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED);
    g_clear_error(&error);

    /* The worst moment: its etcd votes, node.json could not be written. Then nobody can write until the next attempt starts it again. */
    g_autofree char *mark = g_strconcat(machine->prefix, NODE_CONFIG_PATH, NULL);
    machine->block_mark = TRUE;
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_assert_nonnull(strstr(error->message, "node.json"));
    g_clear_error(&error);
    etcd_stop(machine);
    machine->block_mark = FALSE;
    g_assert_cmpint(g_rmdir(mark), ==, 0);
    g_assert_false(store_put(fixture->store, STORE_ROOT "test", "{}", -1, 0, NULL, NULL));
    g_autoptr(Answers) answers = answers_of(machine, "n2", token);
    answers->join.address = g_strdup(fixture->machines[0].ring0);
    answers->join.token = g_strdup(token);
    g_assert_true(answers_check(&machine->context, answers, NULL));
    join_run_until_done(&machine->context, answers, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_false(token_present(fixture, token));
}

static void test_resume_to_the_end(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    Machine *machine = &fixture->machines[1];
    g_autoptr(GError) error = NULL;
    g_autofree char *token = token_new(fixture);
    g_autofree char *other = token_new(fixture);
    machine->fail_on = g_strdup("restart holdfast-etcd.service");
    g_assert_false(join(fixture, 1, "n2", token, &error));
    g_clear_error(&error);
    /* Meanwhile nobody else gets in. */
    g_assert_false(join(fixture, 2, "n3", other, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
    g_assert_null(store_get(fixture->store, STORE_ROOT "node/n3", NULL, NULL));
    g_clear_error(&error);
    g_clear_pointer(&machine->fail_on, g_free);
    join(fixture, 1, "n2", token, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_voting_members(fixture), ==, 2);
    g_assert_false(token_present(fixture, token));
    /* Repeating a finished join changes nothing. */
    g_assert_true(join(fixture, 1, "n2", token, &error));
    g_assert_no_error(error);
    join(fixture, 2, "n3", other, &error);
    g_assert_no_error(error);
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
    g_test_init(&argc, &argv, NULL);
    if (g_access("/usr/bin/etcd", X_OK) != 0) {
        g_test_message("/usr/bin/etcd is missing: install etcd-server");
        return 77;
    }
    g_test_add("/join/init-again", Fixture, NULL, set_up, test_init_again, tear_down);
    g_test_add("/join/three-nodes", Fixture, NULL, set_up, test_three_nodes, tear_down);
    g_test_add("/join/remove", Fixture, NULL, set_up, test_remove, tear_down);
    g_test_add("/join/refusals", Fixture, NULL, set_up, test_refusals, tear_down);
    g_test_add("/join/garbage", Fixture, NULL, set_up, test_garbage, tear_down);
    g_test_add("/join/middle", Fixture, NULL, set_up, test_middle, tear_down);
    g_test_add("/join/resume", Fixture, NULL, set_up, test_resume, tear_down);
    g_test_add("/join/resume-to-the-end", Fixture, NULL, set_up, test_resume_to_the_end, tear_down);
    g_test_add("/join/busy", Fixture, NULL, set_up, test_busy, tear_down);
    return g_test_run();
}
