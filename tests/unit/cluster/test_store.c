/* SPDX-License-Identifier: Apache-2.0
 * The store client against real etcd processes, and against a server that misbehaves on purpose. */
#include "cluster/store_internal.h"
#include "common/error.h"
#include "common/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ETCD "/usr/bin/etcd"
#define START_LIMIT_US (60 * G_TIME_SPAN_SECOND)

typedef struct {
    char *folder, *endpoint;
    const char *name;
    char *peer_url;
    char *initial_cluster; /* NULL: alone */
    char *tls_url;         /* NULL: unix socket only */
    GPid pid;
} Etcd;

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *) &address, &length), ==, 0);
    close(fd);
    return ntohs(address.sin_port);
}

static Store *store_at(const char *first, const char *second, int timeout_ms)
{
    char *endpoints[] = {(char *) first, (char *) second, NULL};
    StoreConfig config = {.endpoints = endpoints, .timeout_ms = timeout_ms};
    return store_new(&config);
}

static void die_with_parent(gpointer data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Polls: etcd gives no other sign that it serves. */
static void etcd_wait_ready(const Etcd *etcd)
{
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 5000);
    gint64 end_us = g_get_monotonic_time() + START_LIMIT_US;
    for (;;) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) entries = store_list(store, "ready", NULL, &error);
        if (entries) {
            return;
        }
        if (g_get_monotonic_time() > end_us) {
            g_error("etcd did not come up: %s", error->message);
        }
        g_usleep(20000);
    }
}

static void etcd_spawn(Etcd *etcd)
{
    g_autofree char *alone = g_strdup_printf("%s=%s", etcd->name, etcd->peer_url);
    g_autofree char *listen = g_strconcat("unix://etcd.sock:0", etcd->tls_url ? "," : NULL, etcd->tls_url, NULL);
    const char *argv[] = {ETCD, "--name", etcd->name, "--data-dir", "data", "--listen-client-urls", listen,
                          "--advertise-client-urls", etcd->peer_url, "--listen-peer-urls", etcd->peer_url,
                          "--initial-advertise-peer-urls", etcd->peer_url, "--initial-cluster",
                          etcd->initial_cluster ? etcd->initial_cluster : alone, "--initial-cluster-state",
                          etcd->initial_cluster ? "existing" : "new", "--log-level", "error", etcd->tls_url ? "--client-cert-auth" : NULL,
                          "--trusted-ca-file", "ca.crt", "--cert-file", "node.crt", "--key-file", "node.key", NULL};
    g_autofree char *socket_path = g_build_filename(etcd->folder, "etcd.sock:0", NULL);
    g_unlink(socket_path);
    GError *error = NULL;
    g_spawn_async(etcd->folder, (char **) argv, NULL,
                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, die_with_parent, NULL,
                  &etcd->pid, &error);
    g_assert_no_error(error); /* etcd is a build dependency: packaging/install-deps installs it */
    etcd_wait_ready(etcd);
}

static void etcd_kill(Etcd *etcd)
{
    if (etcd->pid > 0) {
        kill(etcd->pid, SIGKILL);
        g_assert_cmpint(waitpid(etcd->pid, NULL, 0), ==, etcd->pid);
        etcd->pid = 0;
    }
}

static Etcd *etcd_new(const char *name)
{
    Etcd *etcd = g_new0(Etcd, 1);
    GError *error = NULL;
    etcd->folder = g_dir_make_tmp("holdfast-store-XXXXXX", &error);
    g_assert_no_error(error);
    etcd->endpoint = g_strdup_printf("unix:%s/etcd.sock:0", etcd->folder);
    etcd->name = name;
    etcd->peer_url = g_strdup_printf("http://127.0.0.1:%d", free_port());
    return etcd;
}

static Etcd *etcd_start(void)
{
    Etcd *etcd = etcd_new("one");
    etcd_spawn(etcd);
    return etcd;
}

static void remove_tree(const char *path)
{
    g_autoptr(GDir) folder = g_dir_open(path, 0, NULL);
    const char *name;
    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    g_remove(path);
}

static void etcd_free(Etcd *etcd)
{
    etcd_kill(etcd);
    remove_tree(etcd->folder);
    g_free(etcd->folder);
    g_free(etcd->endpoint);
    g_free(etcd->peer_url);
    g_free(etcd->initial_cluster);
    g_free(etcd->tls_url);
    g_free(etcd);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Etcd, etcd_free)

static gint64 put(Store *store, const char *key, const char *value)
{
    GError *error = NULL;
    gint64 revision = 0;
    store_put(store, key, value, -1, 0, &revision, &error);
    g_assert_no_error(error);
    g_assert_cmpint(revision, >, 0);
    return revision;
}

static void assert_value(Store *store, const char *key, const char *value)
{
    GError *error = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(entry->value, ==, value);
}

static void assert_absent(Store *store, const char *key)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(store_get(store, key, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

static void test_put_get_delete(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 0);
    assert_absent(store, "k/none");
    gint64 first = put(store, "k/a", "{\"text\":\"Grüße\"}");
    gint64 second = put(store, "k/a", "");
    g_assert_cmpint(second, ==, first + 1);
    GError *error = NULL;
    gint64 revision = 0;
    g_autoptr(StoreEntry) entry = store_get(store, "k/a", &revision, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(entry->key, ==, "k/a");
    g_assert_cmpstr(entry->value, ==, "");
    g_assert_cmpint(entry->create_revision, ==, first);
    g_assert_cmpint(entry->mod_revision, ==, second);
    g_assert_cmpint(entry->lease, ==, 0);
    g_assert_cmpint(revision, ==, second);
    put(store, "k/a", "{\"text\":\"Grüße\"}");
    assert_value(store, "k/a", "{\"text\":\"Grüße\"}");
    g_assert_true(store_delete(store, "k/a", -1, &error));
    assert_absent(store, "k/a");
    g_assert_true(store_delete(store, "k/a", -1, &error)); /* nothing to do is no error */
    g_assert_no_error(error);
}

static void test_list_pages(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    GError *error = NULL;
    const int keys = 600; /* three pages */
    for (int i = 0; i < keys; i += 100) {
        g_autoptr(StoreTxn) txn = store_txn_new();
        for (int k = i; k < i + 100; k++) {
            g_autofree char *key = g_strdup_printf("list/%04d", k);
            store_txn_put(txn, key, key, 0);
        }
        g_assert_true(store_txn_commit(store, txn, NULL, &error));
    }
    gint64 last = put(store, "list0", "not under the prefix");
    gint64 revision = 0;
    g_autoptr(GPtrArray) entries = store_list(store, "list/", &revision, &error);
    g_assert_no_error(error);
    g_assert_cmpint(revision, ==, last);
    g_assert_cmpuint(entries->len, ==, keys);
    for (int i = 0; i < keys; i++) {
        g_autofree char *key = g_strdup_printf("list/%04d", i);
        g_assert_cmpstr(((StoreEntry *) entries->pdata[i])->key, ==, key);
    }
    g_autoptr(GPtrArray) none = store_list(store, "nothing/", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(none->len, ==, 0);
    g_autoptr(GPtrArray) all = store_list(store, "", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(all->len, ==, keys + 1);
}

static void test_txn(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 0);
    g_autoptr(GError) error = NULL;
    gint64 first = 0, second = 0;
    g_assert_true(store_put(store, "t/a", "1", 0, 0, &first, &error));
    g_assert_false(store_put(store, "t/a", "2", 0, 0, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
    g_assert_nonnull(strstr(error->message, "t/a"));
    g_clear_error(&error);
    g_assert_true(store_put(store, "t/a", "2", first, 0, &second, &error));
    g_assert_false(store_delete(store, "t/a", first, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
    g_clear_error(&error);
    put(store, "t/sub/x", "x");
    put(store, "t/sub/y", "y");
    g_autoptr(StoreTxn) half = store_txn_new();
    store_txn_if_revision(half, "t/a", second);
    store_txn_if_revision(half, "t/new", 77);
    store_txn_delete_prefix(half, "t/");
    g_assert_false(store_txn_commit(store, half, NULL, &error)); /* one condition of two fails: nothing happens */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
    g_clear_error(&error);
    assert_value(store, "t/sub/x", "x");
    g_autoptr(StoreTxn) txn = store_txn_new();
    store_txn_if_revision(txn, "t/a", second);
    store_txn_if_revision(txn, "t/new", 0);
    store_txn_put(txn, "t/new", "n", 0);
    store_txn_delete_prefix(txn, "t/sub/");
    store_txn_delete(txn, "t/a");
    gint64 revision = 0;
    g_assert_true(store_txn_commit(store, txn, &revision, &error));
    g_autoptr(StoreEntry) entry = store_get(store, "t/new", NULL, NULL);
    g_assert_cmpint(entry->mod_revision, ==, revision);
    assert_absent(store, "t/a");
    assert_absent(store, "t/sub/x");
    assert_absent(store, "t/sub/y");
}

static void test_txn_invalid(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 0);
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autoptr(GError) error = NULL;
    store_txn_put(txn, "t/a", "1", 0);
    store_txn_put(txn, "t/a", "2", 0);
    g_assert_false(store_txn_commit(store, txn, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID);
    assert_absent(store, "t/a");
}

static void test_lease(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 0);
    g_autoptr(GError) error = NULL;
    gint64 lease = 0;
    g_assert_true(store_lease_grant(store, 600, &lease, &error));
    g_assert_cmpint(lease, !=, 0);
    g_assert_true(store_put(store, "l/a", "1", -1, lease, NULL, &error));
    g_autoptr(StoreEntry) entry = store_get(store, "l/a", NULL, &error);
    g_assert_cmpint(entry->lease, ==, lease);
    g_assert_true(store_lease_keepalive(store, lease, &error));
    g_assert_true(store_lease_revoke(store, lease, &error));
    assert_absent(store, "l/a");
    g_assert_false(store_lease_keepalive(store, lease, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(store_lease_revoke(store, lease, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(store_put(store, "l/a", "1", -1, lease, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

static void test_members(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 0);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) members = store_members(store, &error);
    g_assert_cmpuint(members->len, ==, 1);
    const StoreMember *member = members->pdata[0];
    g_assert_cmpstr(member->name, ==, "one");
    g_assert_cmpstr(member->peer_urls[0], ==, etcd->peer_url);
    g_assert_null(member->peer_urls[1]);
    g_assert_cmpstr(member->client_urls[0], ==, etcd->peer_url);
    g_assert_false(member->learner);
    g_assert_cmpuint(strlen(member->id), >, 4);
    g_assert_false(store_member_add(store, etcd->peer_url, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_EXISTS);
    g_clear_error(&error);
    g_assert_false(store_member_remove(store, "12345", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
}

/* A second member joins and dies: without a majority nothing is read and nothing written, and a write says surely not. */
static void test_majority(void)
{
    g_autoptr(Etcd) one = etcd_start();
    g_autoptr(Etcd) two = etcd_new("two");
    g_autoptr(Store) store = store_at(one->endpoint, NULL, 20000);
    g_autoptr(GError) error = NULL;
    put(store, "k", "v");
    g_assert_true(store_member_add(store, two->peer_url, &error));
    two->initial_cluster = g_strdup_printf("one=%s,two=%s", one->peer_url, two->peer_url);
    etcd_spawn(two);
    g_autoptr(Store) second = store_at(two->endpoint, NULL, 20000);
    assert_value(second, "k", "v");
    g_autoptr(GPtrArray) members = store_members(second, &error);
    g_assert_cmpuint(members->len, ==, 2);
    etcd_kill(two);
    /* Until the leader notices, a write goes out and its outcome is unknown. */
    do {
        g_clear_error(&error);
        g_assert_false(store_put(store, "k", "w", 1, 0, NULL, &error));
    } while (g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_null(store_get(store, "k", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
}

static void openssl(const char *folder, const char *arguments)
{
    g_autofree char *command = g_strdup_printf("cd '%s' && openssl %s", folder, arguments);
    GError *error = NULL;
    process_call(process_runner_default(), 60000, NULL, &error, "/bin/sh", "-c", command, NULL);
    g_assert_no_error(error);
}

/* A CA, and one certificate for the server and the client: the gateway is a client of its own server. */
static void certificates_make(const char *folder)
{
    openssl(folder, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -days 2 -keyout ca.key -out ca.crt");
    openssl(folder, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=node -days 2 -CA ca.crt -CAkey ca.key "
                    "-addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=serverAuth,clientAuth "
                    "-addext basicConstraints=critical,CA:FALSE -keyout node.key -out node.crt");
    openssl(folder, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -days 2 -keyout stranger.key "
                    "-out stranger.crt");
}

static Store *store_tls(const Etcd *etcd, const char *ca, const char *name)
{
    g_autofree char *ca_file = g_strdup_printf("%s/%s.crt", etcd->folder, ca);
    g_autofree char *cert_file = g_strdup_printf("%s/%s.crt", etcd->folder, name);
    g_autofree char *key_file = g_strdup_printf("%s/%s.key", etcd->folder, name);
    char *endpoints[] = {(char *) "unix:/nobody/here", etcd->tls_url, NULL};
    StoreConfig config = {.endpoints = endpoints, .ca_file = ca_file, .cert_file = cert_file, .key_file = key_file};
    return store_new(&config);
}

static void test_mutual_tls(void)
{
    g_autoptr(Etcd) etcd = etcd_new("one");
    etcd->tls_url = g_strdup_printf("https://127.0.0.1:%d", free_port());
    certificates_make(etcd->folder);
    etcd_spawn(etcd);
    g_autoptr(Store) store = store_tls(etcd, "ca", "node");
    put(store, "k", "v");
    assert_value(store, "k", "v");
    g_autoptr(Store) stranger = store_tls(etcd, "ca", "stranger"); /* etcd does not know the client */
    g_autoptr(GError) error = NULL;
    g_assert_null(store_get(stranger, "k", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_autoptr(Store) misled = store_tls(etcd, "stranger", "node"); /* the client does not know etcd */
    g_assert_false(store_put(misled, "k", "w", -1, 0, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    assert_value(store, "k", "v");
}

static void test_down(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    put(store, "k", "v"); /* so that a connection is kept, and found dead later */
    etcd_kill(etcd);
    g_autoptr(GError) error = NULL;
    g_assert_null(store_get(store, "k", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_assert_nonnull(strstr(error->message, etcd->endpoint));
    g_clear_error(&error);
    g_assert_false(store_put(store, "k", "w", -1, 0, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    etcd_spawn(etcd);
    assert_value(store, "k", "v");
}

static void test_frozen(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) patient = store_at(etcd->endpoint, NULL, 30000);
    gint64 before = put(patient, "k", "v");
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 300);
    g_autoptr(GError) error = NULL;
    kill(etcd->pid, SIGSTOP);
    g_assert_null(store_get(store, "k", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_false(store_put(store, "k", "w", before, 0, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    kill(etcd->pid, SIGCONT);
    g_autoptr(StoreEntry) entry = store_get(patient, "k", NULL, NULL);
    g_assert_nonnull(entry);
    g_assert_true(strcmp(entry->value, "v") == 0 || strcmp(entry->value, "w") == 0);
}

static void test_next_endpoint(void)
{
    g_autoptr(Etcd) frozen = etcd_start();
    g_autoptr(Etcd) good = etcd_start();
    g_autoptr(Store) direct = store_at(good->endpoint, NULL, 0);
    put(direct, "k", "good");
    g_autofree char *nowhere = g_strdup_printf("unix:%s/nobody", good->folder);
    g_autoptr(Store) refused = store_at(nowhere, good->endpoint, 0);
    put(refused, "k2", "written over the second");
    g_assert_cmpint(refused->preferred, ==, 1);
    assert_value(refused, "k2", "written over the second");
    g_autoptr(Store) store = store_at(frozen->endpoint, good->endpoint, 3000);
    kill(frozen->pid, SIGSTOP);
    assert_value(store, "k", "good");
    g_assert_cmpint(store->preferred, ==, 1);
    put(store, "k", "better"); /* goes to the one that works straight away */
    assert_value(direct, "k", "better");
    g_autoptr(Store) writer = store_at(frozen->endpoint, good->endpoint, 500);
    g_autoptr(GError) error = NULL;
    g_assert_false(store_put(writer, "k", "lost", -1, 0, NULL, &error)); /* sent: not repeated at the second */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    assert_value(direct, "k", "better");
    g_assert_cmpint(writer->preferred, ==, 1); /* but the next call starts there */
    kill(frozen->pid, SIGCONT);
}

/* What a watch reported, as "key=value", "-key" and "reset". */
typedef struct {
    GPtrArray *seen;
    StoreWatch *stop_in_callback;
} Observed;

static void observe_change(const StoreEntry *entry, gboolean deleted, gint64 revision, gpointer user_data)
{
    Observed *observed = user_data;
    g_assert_cmpint(revision, ==, entry->mod_revision);
    g_ptr_array_add(observed->seen, deleted ? g_strconcat("-", entry->key, NULL)
                                            : g_strconcat(entry->key, "=", entry->value, NULL));
    if (observed->stop_in_callback) {
        store_watch_stop(g_steal_pointer(&observed->stop_in_callback));
    }
}

static void observe_reset(gpointer user_data)
{
    g_ptr_array_add(((Observed *) user_data)->seen, g_strdup("reset"));
}

static const StoreWatchEvents observe_events = {observe_change, observe_reset};

static void observed_expect(Observed *observed, GMainContext *context, const char *expected)
{
    g_auto(GStrv) wanted = g_strsplit(expected, " ", -1);
    while (observed->seen->len < g_strv_length(wanted)) {
        g_main_context_iteration(context, TRUE);
    }
    g_ptr_array_add(observed->seen, NULL);
    g_autofree char *got = g_strjoinv(" ", (char **) observed->seen->pdata);
    g_assert_cmpstr(got, ==, expected);
    g_ptr_array_set_size(observed->seen, 0);
}

static void test_watch(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    put(store, "x", "elsewhere");
    put(store, "w/b", "2");
    put(store, "w/b", "3");
    g_assert_true(store_delete(store, "w/a", -1, NULL));
    observed_expect(&observed, context, "w/b=2 w/b=3 -w/a");
    etcd_kill(etcd); /* resumes where it was, nothing lost and nothing twice */
    etcd_spawn(etcd);
    put(store, "w/c", "4");
    observed_expect(&observed, context, "w/c=4");
    put(store, "w/c", "5");
    observed_expect(&observed, context, "w/c=5");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_next_endpoint(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) direct = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(Store) store = store_at("unix:/nobody/here", etcd->endpoint, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(direct, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_compacted(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 old = put(store, "w/a", "1");
    put(store, "w/a", "2");
    gint64 revision = put(store, "w/a", "3");
    g_autoptr(json_t) request = json_object();
    json_object_set_new(request, "revision", store_json_int(revision));
    GError *error = NULL;
    g_autoptr(json_t) answer = store_http_call(store, "/v3/kv/compaction", request, STORE_CALL_REPEATABLE,
                                               store_http_deadline_us(store), &error);
    g_assert_no_error(error);
    StoreWatch *watch = store_watch_start(store, "w/", old, &observe_events, context, &observed);
    /* What the compaction left comes again: a list in on_reset would have had it too. */
    observed_expect(&observed, context, "reset w/a=3");
    put(store, "w/a", "4");
    observed_expect(&observed, context, "w/a=4");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_restored_store(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    StoreWatch *watch = store_watch_start(store, "w/", revision + 1000, &observe_events, context, &observed);
    observed_expect(&observed, context, "reset");
    put(store, "w/a", "2");
    observed_expect(&observed, context, "w/a=2");
    store_watch_stop(watch);
    g_ptr_array_unref(observed.seen);
}

static void test_watch_stop(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    Observed observed = {.seen = g_ptr_array_new_with_free_func(g_free)};
    gint64 revision = put(store, "w/a", "1");
    put(store, "w/a", "2");
    /* Stopped in the callback of the first: the second, which waits already, is forgotten. */
    observed.stop_in_callback = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    observed_expect(&observed, context, "w/a=1");
    g_assert_null(observed.stop_in_callback);
    /* Stopped while it has nothing but a dead store to talk to. */
    StoreWatch *watch = store_watch_start(store, "w/", revision, &observe_events, context, &observed);
    etcd_kill(etcd);
    store_watch_stop(watch);
    while (g_main_context_iteration(context, FALSE)) {
    }
    g_assert_cmpuint(observed.seen->len, ==, 0);
    g_ptr_array_unref(observed.seen);
}

typedef struct {
    GMainLoop *loop;
    gint changes, stopped; /* atomic */
} Counter;

static void count_change(const StoreEntry *entry G_GNUC_UNUSED, gboolean deleted G_GNUC_UNUSED, gint64 revision G_GNUC_UNUSED,
                         gpointer user_data)
{
    Counter *counter = user_data;
    g_assert_false(g_atomic_int_get(&counter->stopped));
    g_atomic_int_inc(&counter->changes);
}

static gpointer loop_run(gpointer data)
{
    g_main_loop_run(((Counter *) data)->loop);
    return NULL;
}

/* Stopped by another thread than the one that runs the callbacks, while they run. */
static void test_watch_stop_elsewhere(void)
{
    static const StoreWatchEvents events = {count_change, observe_reset};
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    g_autoptr(GMainContext) context = g_main_context_new();
    gint64 revision = put(store, "w/a", "1");
    for (int i = 0; i < 100; i++) {
        put(store, "w/a", "2");
    }
    Counter counter = {.loop = g_main_loop_new(context, FALSE)};
    GThread *thread = g_thread_new("loop", loop_run, &counter);
    StoreWatch *watch = store_watch_start(store, "w/", revision, &events, context, &counter);
    while (g_atomic_int_get(&counter.changes) == 0) {
        g_thread_yield();
    }
    store_watch_stop(watch);
    g_atomic_int_set(&counter.stopped, TRUE);
    while (!g_main_loop_is_running(counter.loop)) {
        g_thread_yield();
    }
    g_main_loop_quit(counter.loop);
    g_thread_join(thread);
    g_main_loop_unref(counter.loop);
}

/* A server that answers its first request, and takes the second without an answer. */
typedef struct {
    char *folder, *path;
    int fd;
    int taken;       /* requests read in full */
    int connections; /* accepted */
    GThread *thread;
} BadServer;

/* Read one request with its body. FALSE at the end of the connection. */
static gboolean request_take(int fd)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (;;) {
        char buffer[4096];
        ssize_t got = read(fd, buffer, sizeof(buffer));
        if (got <= 0) {
            return FALSE;
        }
        g_string_append_len(text, buffer, got);
        const char *length = strcasestr(text->str, "\r\nContent-Length: ");
        const char *end = strstr(text->str, "\r\n\r\n");
        if (end && length && strlen(end + 4) >= strtoul(length + strlen("\r\nContent-Length: "), NULL, 10)) {
            return TRUE;
        }
    }
}

static gpointer bad_server_thread(gpointer data)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
                                 "{\"header\":{\"revision\":\"7\"},\"succeeded\":true      }";
    BadServer *server = data;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        server->connections++;
        while (request_take(fd) && ++server->taken == 1) {
            g_assert_cmpint(write(fd, answer, strlen(answer)), ==, (ssize_t) strlen(answer));
        }
        close(fd);
    }
    return NULL;
}

static void bad_server_start(BadServer *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server->folder = g_dir_make_tmp("holdfast-store-XXXXXX", NULL);
    server->path = g_build_filename(server->folder, "sock", NULL);
    g_strlcpy(address.sun_path, server->path, sizeof(address.sun_path));
    server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(server->fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(server->fd, 5), ==, 0);
    server->thread = g_thread_new("bad-server", bad_server_thread, server);
}

static void bad_server_stop(BadServer *server)
{
    shutdown(server->fd, SHUT_RDWR);
    g_thread_join(server->thread);
    close(server->fd);
    remove_tree(server->folder);
    g_free(server->folder);
    g_free(server->path);
}

/* libcurl repeats a POST by itself when a kept connection dies before the answer; for a write that would hide that it happened. */
static void test_write_never_repeated(void)
{
    BadServer server = {0};
    bad_server_start(&server);
    g_autofree char *endpoint = g_strconcat("unix:", server.path, NULL);
    g_autoptr(Store) store = store_at(endpoint, NULL, 20000);
    g_autoptr(GError) error = NULL;
    gint64 revision = 0;
    g_assert_true(store_put(store, "k", "1", 0, 0, &revision, &error));
    g_assert_cmpint(revision, ==, 7);
    g_assert_false(store_put(store, "k", "2", revision, 0, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    bad_server_stop(&server);
    g_assert_cmpint(server.taken, ==, 2);
}

static void test_judgement(void)
{
    static const struct {
        const char *text;
        long status;
        StoreAnswer answer;
        int code;
    } cases[] = {
        {"{\"succeeded\":true}", 200, STORE_ANSWER_OK, 0},
        {"{\"result\":{\"TTL\":\"1\"}}\n", 200, STORE_ANSWER_OK, 0},
        {"{\"error\":\"etcdserver: no leader\",\"code\":14}", 503, STORE_ANSWER_NOT_DONE, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: request timed out\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: request timed out, possibly due to previous leader failure\",\"code\":14}", 503,
         STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: server stopped\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"transport is closing\",\"code\":14}", 503, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"all SubConns are in TransientFailure, latest connection error\",\"code\":14}", 503, STORE_ANSWER_NOT_DONE,
         HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: too many requests\",\"code\":8}", 429, STORE_ANSWER_NOT_DONE, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", 429, STORE_ANSWER_FINAL,
         HOLDFAST_ERROR_NO_SPACE},
        {"{\"error\":\"context canceled\",\"code\":1}", 408, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"error\":\"x\",\"code\":3}", 400, STORE_ANSWER_FINAL, HOLDFAST_ERROR_INVALID},
        {"{\"error\":\"x\",\"code\":5}", 404, STORE_ANSWER_FINAL, HOLDFAST_ERROR_NOT_FOUND},
        {"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}", 200, STORE_ANSWER_NOT_DONE,
         HOLDFAST_ERROR_UNAVAILABLE},
        {"404 page not found", 404, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"[]", 200, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"", 200, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
        {"{\"succeeded\":true}", 502, STORE_ANSWER_UNKNOWN, HOLDFAST_ERROR_UNAVAILABLE},
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) document = NULL;
        g_autoptr(GError) error = NULL;
        g_test_message("%s", cases[i].text);
        StoreAnswer answer = store_json_answer(cases[i].text, strlen(cases[i].text), cases[i].status, &document, &error);
        g_assert_cmpint(answer, ==, cases[i].answer);
        g_assert_true((document != NULL) == (answer == STORE_ANSWER_OK));
        if (answer != STORE_ANSWER_OK) {
            g_assert_error(error, HOLDFAST_ERROR, cases[i].code);
        }
    }
}

static void test_prefix_end(void)
{
    static const struct {
        const char *prefix, *end;
        gsize length;
    } cases[] = {{"a", "b", 1}, {"w/", "w0", 2}, {"a\xff", "b", 1}, {"\xff\xff", "\0", 1}, {"", "\0", 1}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) end = store_json_prefix_end(cases[i].prefix);
        gsize length = 0;
        g_autofree guchar *bytes = g_base64_decode(json_string_value(end), &length);
        g_assert_cmpmem(bytes, length, cases[i].end, cases[i].length);
    }
}

static gpointer thread_writes(gpointer data)
{
    Store *store = data;
    for (int i = 0; i < 20; i++) {
        g_autofree char *key = g_strdup_printf("thread/%p/%d", (void *) g_thread_self(), i);
        put(store, key, "x");
    }
    return NULL;
}

static void test_threads(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    GThread *threads[4];
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        threads[i] = g_thread_new("writer", thread_writes, store);
    }
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++) {
        g_thread_join(threads[i]);
    }
    g_autoptr(GPtrArray) entries = store_list(store, "thread/", NULL, NULL);
    g_assert_cmpuint(entries->len, ==, 80);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/store/judgement", test_judgement);
    g_test_add_func("/store/prefix-end", test_prefix_end);
    g_test_add_func("/store/write-never-repeated", test_write_never_repeated);
    g_test_add_func("/store/put-get-delete", test_put_get_delete);
    g_test_add_func("/store/list-pages", test_list_pages);
    g_test_add_func("/store/txn", test_txn);
    g_test_add_func("/store/txn-invalid", test_txn_invalid);
    g_test_add_func("/store/lease", test_lease);
    g_test_add_func("/store/members", test_members);
    g_test_add_func("/store/majority", test_majority);
    g_test_add_func("/store/mutual-tls", test_mutual_tls);
    g_test_add_func("/store/down", test_down);
    g_test_add_func("/store/frozen", test_frozen);
    g_test_add_func("/store/next-endpoint", test_next_endpoint);
    g_test_add_func("/store/threads", test_threads);
    g_test_add_func("/store/watch", test_watch);
    g_test_add_func("/store/watch-next-endpoint", test_watch_next_endpoint);
    g_test_add_func("/store/watch-compacted", test_watch_compacted);
    g_test_add_func("/store/watch-restored-store", test_watch_restored_store);
    g_test_add_func("/store/watch-stop", test_watch_stop);
    g_test_add_func("/store/watch-stop-elsewhere", test_watch_stop_elsewhere);
    return g_test_run();
}
