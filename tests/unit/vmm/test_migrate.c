/* SPDX-License-Identifier: Apache-2.0
 * Live migration between two real QEMU processes over TLS: every state of the hand-over, and every way back. */
#include "common/process.h"
#include "tests/unit/vmm/vmm_fixture.h"

#include <glib/gstdio.h>

typedef struct {
    char *folder, *tls, *disk;
    FixtureVm source, target;
    int port;
} Pair;

static void openssl(const char *folder, const char *const *arguments)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, (gpointer) "/usr/bin/openssl");
    for (; *arguments; arguments++) {
        g_ptr_array_add(argv, (gpointer) *arguments);
    }
    g_ptr_array_add(argv, NULL);
    g_autoptr(GError) error = NULL;
    int status = 0;
    g_assert_true(g_spawn_sync(folder, (char **) argv->pdata, NULL, G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL, NULL,
                               &status, &error));
    g_assert_cmpint(status, ==, 0);
}

#define OPENSSL(folder, ...) openssl(folder, (const char *const[]){__VA_ARGS__, NULL})
#define KEY_TYPE "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"

/* A CA and the certificate of node "n1", which plays both ends. */
static void certificates_make(const char *folder)
{
    g_mkdir(folder, 0700);
    OPENSSL(folder, "req", "-x509", KEY_TYPE, "-keyout", "ca-key.pem", "-out", "ca-cert.pem", "-days", "2", "-subj",
            "/CN=test ca", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign");
    OPENSSL(folder, "req", KEY_TYPE, "-keyout", "client-key.pem", "-out", "node.csr", "-subj", "/O=holdfast/CN=n1");
    g_autofree char *extensions = g_build_filename(folder, "extensions", NULL);
    g_assert_true(g_file_set_contents(extensions,
                                      "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                                      "extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:n1\n",
                                      -1, NULL));
    OPENSSL(folder, "x509", "-req", "-in", "node.csr", "-CA", "ca-cert.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "extensions", "-out", "client-cert.pem");
    static const char *const copies[][2] = {{"client-key.pem", "server-key.pem"},
                                            {"client-cert.pem", "server-cert.pem"}};
    for (gsize i = 0; i < G_N_ELEMENTS(copies); i++) {
        g_autofree char *from = g_build_filename(folder, copies[i][0], NULL);
        g_autofree char *to = g_build_filename(folder, copies[i][1], NULL);
        g_assert_cmpint(link(from, to), ==, 0);
    }
}

/* Source running (busy: the boot sector's program; idle: firmware with nothing to boot), target listening for `peer`.
 */
static void pair_start(Pair *pair, gboolean busy, const char *peer)
{
    g_autoptr(GError) error = NULL;
    pair->folder = g_dir_make_tmp("holdfast-migrate-XXXXXX", &error);
    g_assert_no_error(error);
    pair->tls = g_build_filename(pair->folder, "tls", NULL);
    certificates_make(pair->tls);
    pair->disk = g_build_filename(pair->folder, "disk", NULL);
    fixture_boot_disk(pair->disk);
    fixture_spec(&pair->source.spec, pair->folder, "source", busy ? pair->disk : NULL);
    fixture_spec(&pair->target.spec, pair->folder, "target", busy ? pair->disk : NULL);
    pair->source.spec.tls_folder = g_strdup(pair->tls);
    pair->target.spec.tls_folder = g_strdup(pair->tls);
    pair->target.spec.tls_peer_name = g_strdup(peer);
    pair->target.spec.migration_uri_listen = g_strdup("127.0.0.1");
    pair->port = fixture_free_port();
    pair->target.spec.migration_port = pair->port;
    fixture_start(&pair->source, FALSE);
    fixture_start(&pair->target, TRUE);
    g_assert_true(qemu_incoming_prepare(&pair->target.spec, &error));
    g_assert_no_error(error);
    if (busy) {
        fixture_await_output(&pair->source, 5);
    }
}

static void pair_stop(Pair *pair)
{
    fixture_stop(&pair->source);
    fixture_stop(&pair->target);
    g_assert_true(process_call(process_runner_default(), 10000, NULL, NULL, "/bin/rm", "-r", pair->folder, NULL));
    g_free(pair->folder);
    g_free(pair->tls);
    g_free(pair->disk);
}

static void begin(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    qemu_engine.migrate_begin(pair->source.spec.run_folder, "127.0.0.1", pair->port, "n1", &error);
    g_assert_no_error(error);
}

static void assert_status(const Pair *pair, const char *wanted)
{
    g_autoptr(GError) error = NULL;
    g_auto(VmmMigration) migration = {0};
    g_assert_true(qemu_engine.migrate_query(pair->source.spec.run_folder, &migration, &error));
    g_assert_cmpstr(migration.status, ==, wanted);
}

static void assert_run_state(const FixtureVm *vm, const char *wanted)
{
    g_autofree char *word = fixture_run_state(vm);
    g_assert_cmpstr(word, ==, wanted);
}

static gint64 ram_figure(const Pair *pair, const char *name)
{
    g_autoptr(Qmp) qmp = qmp_open(pair->source.spec.run_folder, 30000, NULL);
    g_autoptr(json_t) answer = qmp_execute(qmp, "query-migrate", NULL, NULL);
    return json_integer_value(json_object_get(json_object_get(answer, "ram"), name));
}

static void await_more(const Pair *pair, const char *name, gint64 more)
{
    gint64 first = ram_figure(pair, name);
    gint64 deadline_us = g_get_monotonic_time() + FIXTURE_WAIT_US;
    while (ram_figure(pair, name) < first + more) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
        g_usleep(20000);
    }
}

/* Let QEMU consider several times whether to stop the guest: with nothing to hold it, the first look at an idle guest
 * is enough. While pre-copying each look counts a round; while held it leaves an end mark of 8 bytes in the stream. */
static void await_looks(const Pair *pair)
{
    await_more(pair, "dirty-sync-count", 3);
}

static void await_held_looks(const Pair *pair)
{
    await_more(pair, "transferred", 64);
}

static void hold(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    qemu_engine.migrate_hold(pair->source.spec.run_folder, &error);
    g_assert_no_error(error);
}

static void switchover(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    qemu_engine.migrate_switchover(pair->source.spec.run_folder, 60000, &error);
    g_assert_no_error(error);
    assert_status(pair, "pre-switchover");
    assert_run_state(&pair->source, "finish-migrate");
    assert_run_state(&pair->target, "inmigrate");
}

static void finish(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    qemu_engine.migrate_finish(pair->source.spec.run_folder, 60000, &error);
    g_assert_no_error(error);
    assert_status(pair, "completed");
    gboolean ready = FALSE;
    gint64 deadline_us = g_get_monotonic_time() + FIXTURE_WAIT_US;
    while (!ready) {
        g_assert_true(qemu_engine.incoming_ready(pair->target.spec.run_folder, &ready, &error));
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
    }
    assert_run_state(&pair->source, "postmigrate");
    assert_run_state(&pair->target, "paused");
}

/* A VMM that was received can be sent: back to where it came from. */
static void move_back(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    FixtureVm left = pair->source;
    pair->source = pair->target;
    pair->target = left;
    kill(pair->target.pid, SIGKILL);
    waitpid(pair->target.pid, NULL, 0);
    pair->target.spec.tls_peer_name = g_strdup("n1");
    pair->target.spec.migration_uri_listen = g_strdup("127.0.0.1");
    pair->target.spec.migration_port = pair->port = fixture_free_port();
    fixture_start(&pair->target, TRUE);
    g_assert_true(qemu_incoming_prepare(&pair->target.spec, &error));
    begin(pair);
    hold(pair);
    switchover(pair);
    finish(pair);
    g_assert_true(qemu_engine.resume(pair->target.spec.run_folder, &error));
    fixture_await_output(&pair->target, 5);
}

static void move(gboolean busy)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, busy, "n1");
    gboolean ready = TRUE;
    g_assert_true(qemu_engine.incoming_ready(pair.target.spec.run_folder, &ready, &error));
    g_assert_false(ready);
    begin(&pair);
    await_looks(&pair);
    assert_status(&pair, "active");
    hold(&pair);
    await_held_looks(&pair);
    assert_status(&pair, "active");
    assert_run_state(&pair.source, "running");
    switchover(&pair);
    finish(&pair);
    g_assert_true(qemu_engine.resume(pair.target.spec.run_folder, &error));
    assert_run_state(&pair.target, "running");
    assert_run_state(&pair.source, "postmigrate");
    if (busy) {
        fixture_await_output(&pair.target, 5);
        move_back(&pair);
    }
    pair_stop(&pair);
}

static void test_move_busy(void)
{
    move(TRUE);
}

static void test_move_idle(void)
{
    move(FALSE);
}

static void cancel_and_run_on(Pair *pair)
{
    g_autoptr(GError) error = NULL;
    qemu_engine.migrate_cancel(pair->source.spec.run_folder, &error);
    g_assert_no_error(error);
    assert_run_state(&pair->source, "running");
    fixture_await_output(&pair->source, 5);
}

static void test_cancel_precopy(void)
{
    Pair pair = {0};
    pair_start(&pair, TRUE, "n1");
    begin(&pair);
    hold(&pair);
    cancel_and_run_on(&pair);
    assert_status(&pair, "cancelled");
    pair_stop(&pair);
}

/* And then once more, to a new target: nothing of the first try may be in the way. */
static void test_cancel_pre_switchover(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n1");
    begin(&pair);
    switchover(&pair);
    cancel_and_run_on(&pair);
    assert_status(&pair, "cancelled");
    kill(pair.target.pid, SIGKILL);
    waitpid(pair.target.pid, NULL, 0);
    fixture_start(&pair.target, TRUE);
    g_assert_true(qemu_incoming_prepare(&pair.target.spec, &error));
    begin(&pair);
    hold(&pair);
    switchover(&pair);
    finish(&pair);
    g_assert_true(qemu_engine.resume(pair.target.spec.run_folder, &error));
    fixture_await_output(&pair.target, 5);
    pair_stop(&pair);
}

/* Everything sent: cancel must not bring the guest back, for the target may run already. Who knows that the commit did
 * not happen resumes it. */
static void test_cancel_completed(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n1");
    begin(&pair);
    switchover(&pair);
    finish(&pair);
    g_assert_false(qemu_engine.migrate_cancel(pair.source.spec.run_folder, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    assert_run_state(&pair.source, "postmigrate");
    fixture_stop(&pair.target);
    g_assert_true(qemu_engine.resume(pair.source.spec.run_folder, &error));
    assert_run_state(&pair.source, "running");
    fixture_await_output(&pair.source, 5);
    pair_stop(&pair);
}

static void test_target_dies(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n1");
    begin(&pair);
    switchover(&pair);
    fixture_stop(&pair.target);
    g_assert_false(qemu_engine.migrate_finish(pair.source.spec.run_folder, 60000, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    cancel_and_run_on(&pair);
    pair_stop(&pair);
}

/* The target lets in only the node it was told to expect. */
static void test_wrong_peer(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n2");
    gboolean began = qemu_engine.migrate_begin(pair.source.spec.run_folder, "127.0.0.1", pair.port, "n1", &error);
    if (began) { /* TLS 1.3: the client may learn of the refusal only from its first write */
        g_assert_false(qemu_engine.migrate_switchover(pair.source.spec.run_folder, 60000, &error));
    }
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    assert_run_state(&pair.source, "running");
    pair_stop(&pair);
}

/* And the source sends only to the node it meant. */
static void test_wrong_target(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n1");
    g_assert_false(qemu_engine.migrate_begin(pair.source.spec.run_folder, "127.0.0.1", pair.port, "n3", &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    assert_run_state(&pair.source, "running");
    pair_stop(&pair);
}

/* `cont` before everything is loaded would start the guest by itself later: refused. */
static void test_resume_too_early(void)
{
    Pair pair = {0};
    g_autoptr(GError) error = NULL;
    pair_start(&pair, TRUE, "n1");
    g_assert_false(qemu_engine.resume(pair.target.spec.run_folder, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    pair_stop(&pair);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/migrate/move/busy", test_move_busy);
    g_test_add_func("/vmm/migrate/move/idle", test_move_idle);
    g_test_add_func("/vmm/migrate/cancel/pre-copy", test_cancel_precopy);
    g_test_add_func("/vmm/migrate/cancel/pre-switchover", test_cancel_pre_switchover);
    g_test_add_func("/vmm/migrate/cancel/completed", test_cancel_completed);
    g_test_add_func("/vmm/migrate/target-dies", test_target_dies);
    g_test_add_func("/vmm/migrate/wrong-peer", test_wrong_peer);
    g_test_add_func("/vmm/migrate/wrong-target", test_wrong_target);
    g_test_add_func("/vmm/migrate/resume-too-early", test_resume_too_early);
    return g_test_run();
}
