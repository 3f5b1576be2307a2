/* SPDX-License-Identifier: Apache-2.0
 * A first node and two machines that may join it, in one process: real TLS over loopback, real openssl and real etcd
 * members, each machine in a temporary folder of its own. systemd, corosync and LVM are played by a runner. */
#pragma once

#include "cluster/cluster_config.h"
#include "cluster/node_config.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/join.h"
#include "node-agent/join_admit.h"
#include "node-agent/setup/init.h"
#include "node-agent/setup/join_run.h"
#include "node-agent/setup/member.h"

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
    char *fail_on;       /* a command that contains this fails, as if the machine had been switched off there */
    gboolean block_mark; /* node.json cannot be written from the start of corosync on */
    GString *calls;      /* what systemctl and corosync-cfgtool were asked */
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

static gboolean machine_run(const ProcessRunner *runner, const char *const *argv, const char *input, int timeout_ms,
                            ProcessResult *ret, GError **error)
{
    Machine *machine = runner->user_data;
    g_autofree char *command = g_strjoinv(" ", (char **) argv);
    static const char *const real[] = {"/usr/bin/openssl", "/bin/rm", "/bin/cp", "/bin/sync", "/usr/bin/etcdctl", NULL};
    if (g_strv_contains(real, argv[0])) {
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

static gboolean pool_create_fake(const ProcessRunner *runner G_GNUC_UNUSED, const char *device G_GNUC_UNUSED,
                                 GError **error G_GNUC_UNUSED)
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

static void machine_init(Machine *machine, const char *folder, const char *network, int number, int client_port,
                         int peer_port)
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
    g_autofree char *network = g_strdup_printf("127.%d.%d", g_random_int_range(1, 250), g_random_int_range(1, 250));
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
    g_assert_true(
        process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-rf", "--", fixture->folder, NULL));
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

G_GNUC_UNUSED static gboolean token_present(Fixture *fixture, const char *token)
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

G_GNUC_UNUSED static guint count_voting_members(Fixture *fixture)
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

G_GNUC_UNUSED static void assert_same_file(Fixture *fixture, int index, const char *path)
{
    g_autofree char *a = g_strconcat(fixture->machines[0].prefix, path, NULL);
    g_autofree char *b = g_strconcat(fixture->machines[index].prefix, path, NULL);
    g_autofree char *text_a = NULL, *text_b = NULL;
    gsize length_a = 0, length_b = 0;
    g_assert_true(g_file_get_contents(a, &text_a, &length_a, NULL));
    g_assert_true(g_file_get_contents(b, &text_b, &length_b, NULL));
    g_assert_cmpmem(text_a, length_a, text_b, length_b);
}

/* Every test program with this fixture begins here. */
static void join_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    if (g_access("/usr/bin/etcd", X_OK) != 0) {
        g_error("/usr/bin/etcd is missing: install etcd-server");
    }
}
