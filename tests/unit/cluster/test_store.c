/* SPDX-License-Identifier: Apache-2.0
 * The store client against real etcd processes, and against a server that misbehaves on purpose. */
#include "common/process.h"
#include "tests/unit/cluster/etcd_fixture.h"

#include <sys/un.h>

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

/* Writes while a list of several prefixes is under way. */
typedef struct {
    Store *store;
    GThread *thread;
    gint stop;
} Writer;

/* Both keys always change together. */
static gpointer write_pairs(gpointer data)
{
    Writer *writer = data;
    for (int i = 0; !g_atomic_int_get(&writer->stop); i++) {
        g_autoptr(StoreTxn) txn = store_txn_new();
        g_autofree char *value = g_strdup_printf("%d", i);
        store_txn_put(txn, "a/1", value, 0);
        store_txn_put(txn, "b/1", value, 0);
        store_txn_commit(writer->store, txn, NULL, NULL);
    }
    return NULL;
}

static void test_list_all_is_one_revision(void)
{
    g_autoptr(Etcd) etcd = etcd_start();
    g_autoptr(Store) store = store_at(etcd->endpoint, NULL, 20000);
    static const char *const prefixes[] = {"a/", "none/", "b/", NULL};
    put(store, "a/1", "0");
    put(store, "b/1", "0");
    put(store, "c/1", "not asked for");
    Writer writer = {.store = store};
    writer.thread = g_thread_new("writer", write_pairs, &writer);
    for (int i = 0; i < 100; i++) {
        GError *error = NULL;
        gint64 revision = 0;
        g_autoptr(GPtrArray) entries = store_list_all(store, prefixes, &revision, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(entries->len, ==, 2);
        const StoreEntry *a = entries->pdata[0], *b = entries->pdata[1];
        g_assert_cmpstr(a->key, ==, "a/1");
        g_assert_cmpstr(b->key, ==, "b/1");
        g_assert_cmpstr(a->value, ==, b->value);
        g_assert_cmpint(revision, >=, b->mod_revision);
    }
    g_atomic_int_set(&writer.stop, 1);
    g_thread_join(writer.thread);
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

static gpointer put_waiting(gpointer store)
{
    put(store, "waiting", "written");
    return NULL;
}

/* A second member joins and dies: without a majority nothing is read and nothing written, and a write says surely not.
 */
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
    g_autoptr(Store) impatient = store_at(one->endpoint, NULL, 1000);
    /* Until the leader notices, a write goes out and its outcome is unknown. */
    do {
        g_clear_error(&error);
        g_assert_false(store_put(impatient, "k", "w", 1, 0, NULL, &error));
    } while (g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    g_clear_error(&error);
    g_assert_null(store_get(impatient, "k", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    /* A call with time left waits for the election. */
    g_autoptr(Store) waiting = store_at(one->endpoint, NULL, 60000);
    GThread *writer = g_thread_new("writer", put_waiting, waiting);
    etcd_spawn(two);
    g_thread_join(writer);
    assert_value(second, "waiting", "written");
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
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -days 2 -keyout ca.key -out ca.crt");
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=node -days 2 -CA ca.crt -CAkey ca.key "
        "-addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=serverAuth,clientAuth "
        "-addext basicConstraints=critical,CA:FALSE -keyout node.key -out node.crt");
    openssl(
        folder,
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=stranger -days 2 -keyout stranger.key "
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
    etcd_freeze(etcd);
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
    etcd_freeze(frozen);
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

/* libcurl repeats a POST by itself when a kept connection dies before the answer; for a write that would hide that it
 * happened. */
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
    g_test_add_func("/store/write-never-repeated", test_write_never_repeated);
    g_test_add_func("/store/put-get-delete", test_put_get_delete);
    g_test_add_func("/store/list-pages", test_list_pages);
    g_test_add_func("/store/list-all-is-one-revision", test_list_all_is_one_revision);
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
    return g_test_run();
}
