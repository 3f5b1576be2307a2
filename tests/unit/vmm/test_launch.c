/* SPDX-License-Identifier: Apache-2.0
 * Launching: run folder, QEMU and the first answer, with a runner that plays systemd-run. */
#include "tests/unit/vmm/vmm_fixture.h"

#include "common/process.h"

typedef struct {
    GPid pid;
    const char *run_folder;
    gboolean refuse;
} FakeSystemd;

/* Start what follows the second "--" and return when its sockets are there: the test has no unit whose life could be
 * watched. */
static gboolean fake_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                         int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error)
{
    FakeSystemd *fake = runner->user_data;
    *ret = (ProcessResult){.stdout_text = g_strdup("last words"), .stderr_text = g_strdup("no")};
    if (!g_str_has_suffix(argv[0], "/systemd-run")) {
        return TRUE;
    }
    if (fake->refuse) {
        ret->exit_status = 1;
        return TRUE;
    }
    for (int ends = 0; ends < 2; argv++) {
        ends += strcmp(*argv, "--") == 0;
    }
    g_assert_true(g_spawn_async(NULL, (char **) argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, fixture_die_with_parent, NULL,
                                &fake->pid, error));
    Qmp *qmp = NULL;
    while (!(qmp = qmp_open(fake->run_folder, 30000, NULL))) {
        siginfo_t info = {0};
        g_assert_cmpint(waitid(P_PID, (id_t) fake->pid, &info, WEXITED | WNOHANG | WNOWAIT), ==, 0);
        if (info.si_pid != 0) {
            return TRUE; /* it ended: launch has to find that out */
        }
        g_usleep(20000);
    }
    qmp_close(qmp);
    return TRUE;
}

static void fake_reap(FakeSystemd *fake)
{
    kill(fake->pid, SIGKILL);
    waitpid(fake->pid, NULL, 0);
}

static void launch(gboolean incoming, const char *wanted_state)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = g_dir_make_tmp("holdfast-launch-XXXXXX", NULL);
    g_auto(VmmSpec) spec = {0};
    fixture_spec(&spec, folder, "run", NULL);
    spec.migration_uri_listen = incoming ? g_strdup("127.0.0.1") : NULL;
    spec.migration_port = incoming ? fixture_free_port() : 0;
    FakeSystemd fake = {.run_folder = spec.run_folder};
    ProcessRunner runner = {.run = fake_run, .user_data = &fake};
    g_assert_true(qemu_engine.launch(&runner, &spec, incoming, &error));
    g_assert_no_error(error);
    g_autoptr(Qmp) qmp = qmp_open(spec.run_folder, 30000, &error);
    g_autofree char *word = qemu_run_state(qmp, &error);
    g_assert_cmpstr(word, ==, wanted_state);
    struct stat status;
    g_assert_cmpint(stat(spec.run_folder, &status), ==, 0);
    g_assert_cmpuint(status.st_mode & 07777, ==, 01770);
    fake_reap(&fake);
    qemu_run_folder_remove(spec.run_folder);
    g_assert_cmpint(rmdir(folder), ==, 0); /* nothing else was made */
}

static void test_start(void)
{
    launch(FALSE, "running");
}

static void test_incoming(void)
{
    launch(TRUE, "inmigrate");
}

static void assert_launch_fails(VmmSpec *spec, gboolean refuse, gboolean incoming, int code)
{
    g_autoptr(GError) error = NULL;
    FakeSystemd fake = {.run_folder = spec->run_folder, .refuse = refuse};
    ProcessRunner runner = {.run = fake_run, .user_data = &fake};
    g_assert_false(qemu_engine.launch(&runner, spec, incoming, &error));
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_assert_false(g_file_test(spec->run_folder, G_FILE_TEST_EXISTS));
    if (fake.pid) {
        fake_reap(&fake);
    }
}

/* Whatever goes wrong, nothing is left behind. */
static void test_failures(void)
{
    g_autofree char *folder = g_dir_make_tmp("holdfast-launch-XXXXXX", NULL);
    g_autofree char *disk = g_build_filename(folder, "disk", NULL);
    g_auto(VmmSpec) spec = {0};
    fixture_spec(&spec, folder, "run", NULL);
    assert_launch_fails(&spec, TRUE, FALSE, HOLDFAST_ERROR_FAILED);
    assert_launch_fails(&spec, FALSE, TRUE, HOLDFAST_ERROR_INVALID); /* no address to listen on */
    g_free(spec.uuid);
    spec.uuid = g_strdup("not a uuid"); /* QEMU ends at once */
    assert_launch_fails(&spec, FALSE, FALSE, HOLDFAST_ERROR_FAILED);
    spec.disk_paths = g_new0(char *, 2);
    spec.disk_paths[0] = g_strdup(disk);
    assert_launch_fails(&spec, FALSE, FALSE, HOLDFAST_ERROR_NOT_FOUND);
    fixture_boot_disk(disk); /* a file is no gate */
    assert_launch_fails(&spec, FALSE, FALSE, HOLDFAST_ERROR_INVALID);
    unlink(disk);
    g_assert_cmpint(rmdir(folder), ==, 0);
}

/* A real QEMU: it is there, takes the pinned machine, and leaves by itself. */
static void test_warm_up(void)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(qemu_engine.warm_up(process_runner_default(), FALSE, &error));
    g_assert_no_error(error);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/launch/start", test_start);
    g_test_add_func("/vmm/launch/incoming", test_incoming);
    g_test_add_func("/vmm/launch/failures", test_failures);
    g_test_add_func("/vmm/launch/warm-up", test_warm_up);
    return g_test_run();
}
