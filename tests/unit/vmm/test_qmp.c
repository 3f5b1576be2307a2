/* SPDX-License-Identifier: Apache-2.0
 * The QMP client against a scripted peer, which may do what QEMU never does, and against QEMU. */
#include "tests/unit/vmm/vmm_fixture.h"

#include <sys/un.h>

/* A peer that sends `greeting`, then answers each line it gets with the next text of `answers` (NULL: hangs up). */
typedef struct {
    char *folder, *path;
    int listener;
    const char *greeting;
    const char *const *answers;
    gboolean silent; /* accept nobody */
    GThread *thread;
} Peer;

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n"
#define NEGOTIATED "{\"return\": {}, \"id\": 0}\n"

static void line_skip(int fd)
{
    char c = 0;
    while (c != '\n' && read(fd, &c, 1) == 1) {
    }
}

static gpointer peer_run(gpointer data)
{
    Peer *peer = data;
    int fd = accept(peer->listener, NULL, NULL);
    g_assert_cmpint(fd, >=, 0);
    send(fd, peer->greeting, strlen(peer->greeting), MSG_NOSIGNAL);
    for (const char *const *answer = peer->answers; *answer; answer++) {
        line_skip(fd);
        send(fd, *answer, strlen(*answer), MSG_NOSIGNAL);
    }
    line_skip(fd);
    close(fd);
    return NULL;
}

static void peer_start(Peer *peer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    peer->folder = g_dir_make_tmp("holdfast-qmp-XXXXXX", NULL);
    peer->path = g_build_filename(peer->folder, "agent.sock", NULL); /* qmp.sock is absent: the second one is tried */
    g_strlcpy(address.sun_path, peer->path, sizeof(address.sun_path));
    peer->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(peer->listener, (struct sockaddr *) &address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(peer->listener, 1), ==, 0);
    peer->thread = peer->silent ? NULL : g_thread_new("peer", peer_run, peer);
}

static void peer_stop(Peer *peer)
{
    if (peer->thread) {
        g_thread_join(peer->thread);
    }
    close(peer->listener);
    unlink(peer->path);
    rmdir(peer->folder);
    g_free(peer->path);
    g_free(peer->folder);
}

static void test_answers(void)
{
    static const char *const answers[] = {
        NEGOTIATED,
        "{\"event\": \"STOP\", \"timestamp\": {}}\n{\"return\": {\"late\": 1}, \"id\": 77}\n{\"return\": {\"n\": 5}, "
        "\"id\": 1}\n",
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Device 'x' not found\"}, \"id\": 2}\n",
        NULL,
    };
    Peer peer = {.greeting = GREETING, .answers = answers};
    g_autoptr(GError) error = NULL;
    peer_start(&peer);
    Qmp *qmp = qmp_open(peer.folder, 30000, &error);
    g_assert_no_error(error);
    g_autoptr(json_t) result = qmp_execute(qmp, "query-x", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(json_integer_value(json_object_get(result, "n")), ==, 5);
    g_assert_false(qmp_run(qmp, "device_del", json_pack("{s:s}", "id", "x"), &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_assert_cmpstr(error->message, ==, "QEMU refused device_del: Device 'x' not found");
    g_clear_error(&error);
    g_assert_false(qmp_run(qmp, "quit", NULL, &error)); /* the script ends: hang-up */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    qmp_close(qmp);
    peer_stop(&peer);
}

static void assert_open_fails(Peer *peer, int timeout_ms, int code)
{
    g_autoptr(GError) error = NULL;
    peer_start(peer);
    g_assert_null(qmp_open(peer->folder, timeout_ms, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    peer_stop(peer);
}

static void test_not_qmp(void)
{
    static const char *const answers[] = {NULL};
    Peer other = {.greeting = "{\"hello\": 1}\n", .answers = answers};
    assert_open_fails(&other, 30000, HOLDFAST_ERROR_FAILED);
    Peer garbage = {.greeting = "SSH-2.0-x\n", .answers = answers};
    assert_open_fails(&garbage, 30000, HOLDFAST_ERROR_INVALID);
}

static void test_endless_line(void)
{
    static const char *const answers[] = {NULL};
    g_autofree char *line = g_strnfill(3 * 1024 * 1024, 'x');
    Peer peer = {.greeting = line, .answers = answers};
    assert_open_fails(&peer, 30000, HOLDFAST_ERROR_FAILED);
}

static void test_silence(void)
{
    Peer peer = {.silent = TRUE};
    assert_open_fails(&peer, 50, HOLDFAST_ERROR_TIMEOUT);
}

static void test_nobody(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-qmp-XXXXXX", NULL);
    g_assert_null(qmp_open(folder, 30000, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
    rmdir(folder);
}

static void test_real(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-qmp-XXXXXX", NULL);
    FixtureVm vm = {0};
    fixture_spec(&vm.spec, folder, "vm", NULL);
    fixture_start(&vm, TRUE);
    g_autoptr(Qmp) first = qmp_open(vm.spec.run_folder, 30000, &error);
    g_assert_no_error(error);
    /* Somebody sits on the first monitor: the second one answers. */
    g_autofree char *word = fixture_run_state(&vm);
    g_assert_cmpstr(word, ==, "inmigrate");
    g_assert_false(qmp_run(first, "no-such-command", NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_clear_error(&error);
    g_assert_true(qmp_run(first, "quit", NULL, &error));
    g_assert_no_error(error);
    fixture_stop(&vm);
    rmdir(folder);
}

static void test_engine_verbs(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-qmp-XXXXXX", NULL);
    FixtureVm vm = {0};
    fixture_spec(&vm.spec, folder, "vm", NULL);
    fixture_start(&vm, FALSE);
    const char *run_folder = vm.spec.run_folder;
    g_assert_true(qemu_engine.pause(run_folder, &error));
    g_autofree char *paused = fixture_run_state(&vm);
    g_assert_cmpint(qemu_state_from(paused), ==, VMM_PAUSED);
    g_assert_true(qemu_engine.resume(run_folder, &error));
    g_assert_true(qemu_engine.resume(run_folder, &error)); /* again: fine */
    g_autofree char *running = fixture_run_state(&vm);
    g_assert_cmpint(qemu_state_from(running), ==, VMM_RUNNING);
    g_assert_true(qemu_engine.powerdown(run_folder, &error));
    g_auto(VmmMigration) migration = {0};
    g_assert_true(qemu_engine.migrate_query(run_folder, &migration, &error));
    g_assert_cmpstr(migration.status, ==, "none");
    g_assert_no_error(error);
    fixture_stop(&vm);
    rmdir(folder);
}

/* What a closed gate does to a guest: its disk answers EIO once, the guest waits, and resume repeats the request. */
static void test_io_error(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-qmp-XXXXXX", NULL);
    g_autofree char *disk = g_build_filename(folder, "disk", NULL);
    FixtureVm vm = {0};
    fixture_boot_disk(disk);
    fixture_spec(&vm.spec, folder, "vm", disk);
    g_assert_true(qemu_run_folder_prepare(&vm.spec, &error));
    g_auto(GStrv) argv = qemu_argv(&vm.spec, FALSE, FALSE, &error);
    for (char **item = argv; *item; item++) {
        if (g_str_has_prefix(*item, "driver=file,node-name=gate0,")) {
            g_free(*item);
            *item = g_strdup_printf("driver=blkdebug,node-name=gate0,image.driver=file,image.filename=%s,"
                                    "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5,"
                                    "inject-error.0.sector=1,inject-error.0.once=on",
                                    disk);
        }
    }
    fixture_spawn(&vm, argv);
    gint64 deadline_us = g_get_monotonic_time() + FIXTURE_WAIT_US;
    g_autofree char *word = NULL;
    while (g_strcmp0(word, "io-error") != 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
        g_free(word);
        word = fixture_run_state(&vm);
    }
    g_assert_cmpint(qemu_state_from(word), ==, VMM_BROKEN);
    g_assert_cmpuint(fixture_serial_length(&vm), ==, 0);
    g_assert_true(qemu_engine.resume(vm.spec.run_folder, &error));
    fixture_await_output(&vm, 5); /* it could only boot because the failed read was done again */
    fixture_stop(&vm);
    unlink(disk);
    rmdir(folder);
}

/* The disk below grows under a running QEMU: the guest is shown it only when told, once, and never less. */
static void test_disk_resize(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-disk-XXXXXX", NULL);
    g_autofree char *disk = g_build_filename(folder, "disk", NULL);
    gint64 size = 0;
    fixture_boot_disk(disk);
    FixtureVm vm = {0};
    fixture_spec(&vm.spec, folder, "vm", disk);
    fixture_start(&vm, FALSE);
    g_assert_true(qemu_engine.disk_size(vm.spec.run_folder, 0, &size, &error));
    g_assert_cmpint(size, ==, 1024 * 1024);
    g_assert_cmpint(truncate(disk, 3 * 1024 * 1024), ==, 0);
    g_assert_true(qemu_engine.disk_size(vm.spec.run_folder, 0, &size, &error));
    g_assert_cmpint(size, ==, 1024 * 1024);
    for (int again = 0; again < 2; again++) {
        g_assert_true(qemu_engine.disk_resize(vm.spec.run_folder, 0, 3 * 1024 * 1024, &error));
        g_assert_no_error(error);
        g_assert_true(qemu_engine.disk_size(vm.spec.run_folder, 0, &size, &error));
        g_assert_cmpint(size, ==, 3 * 1024 * 1024);
    }
    g_assert_false(qemu_engine.disk_resize(vm.spec.run_folder, 0, 1024 * 1024, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(qemu_engine.disk_resize(vm.spec.run_folder, 1, 1024 * 1024, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    fixture_await_output(&vm, 2); /* it goes on */
    fixture_stop(&vm);
    unlink(disk);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/qmp/answers", test_answers);
    g_test_add_func("/vmm/qmp/not-qmp", test_not_qmp);
    g_test_add_func("/vmm/qmp/endless-line", test_endless_line);
    g_test_add_func("/vmm/qmp/silence", test_silence);
    g_test_add_func("/vmm/qmp/nobody", test_nobody);
    g_test_add_func("/vmm/qmp/real", test_real);
    g_test_add_func("/vmm/engine/verbs", test_engine_verbs);
    g_test_add_func("/vmm/engine/io-error", test_io_error);
    g_test_add_func("/vmm/engine/disk-resize", test_disk_resize);
    return g_test_run();
}
