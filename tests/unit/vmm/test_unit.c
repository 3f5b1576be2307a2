/* SPDX-License-Identifier: Apache-2.0
 * Guest units: the systemd-run line, and life and death by cgroup, on a real cgroup tree where the machine lets us make
 * one. */
#include "vmm/unit.h"

#include "common/error.h"

#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A runner that writes down what it was to run; the first `failures` calls fail. */
typedef struct {
    GPtrArray *lines;
    int failures;
    gboolean slow; /* every call times out */
} Recorder;

static gboolean record(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                       int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error)
{
    Recorder *recorder = runner->user_data;
    g_ptr_array_add(recorder->lines, g_strjoinv("\n", (char **) argv));
    if (recorder->slow) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "slow");
        return FALSE;
    }
    *ret = (ProcessResult){
        .exit_status = recorder->failures-- > 0 ? 1 : 0,
        .stdout_text = g_strdup(""),
        .stderr_text = g_strdup("Unit holdfast-guest@web1.service already exists."),
    };
    return TRUE;
}

static const char *const program[] = {"/usr/bin/qemu-system-x86_64", "-name", "a b", NULL};
static const char *const devices[] = {"/dev/mapper/web1-0", "/dev/kvm", NULL};
static const UnitLimits limits = {
    .uid = 20001, .memory_max_mib = 900, .devices = devices, .writable_folder = "/run/holdfast/guests/web1"};

static void assert_has(const char *line, const char *text)
{
    if (!strstr(line, text)) {
        g_error("'%s' is not in:\n%s", text, line);
    }
}

static void test_start_line(void)
{
    g_autoptr(GError) error = NULL;
    Recorder recorder = {.lines = g_ptr_array_new_with_free_func(g_free)};
    ProcessRunner runner = {.run = record, .user_data = &recorder};
    g_assert_true(unit_start(&runner, "web1", program, &limits, &error));
    g_assert_cmpuint(recorder.lines->len, ==, 1);
    const char *line = recorder.lines->pdata[0];
    g_assert_true(g_str_has_prefix(line, "/usr/bin/systemd-run\n--unit=holdfast-guest@web1.service\n"));
    static const char *const properties[] = {
        "Type=exec",
        "Restart=no",
        "Slice=holdfast-guests.slice",
        "Before=pacemaker.service",
        "MemoryMax=900M",
        "DevicePolicy=closed",
        "DeviceAllow=/dev/mapper/web1-0 rw",
        "DeviceAllow=/dev/kvm rw",
        "ReadWritePaths=/run/holdfast/guests/web1",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_autofree char *property = g_strdup_printf("\n--property\n%s\n", properties[i]);
        assert_has(line, property);
    }
    assert_has(line, "\n--\n/usr/bin/setpriv\n--reuid=20001\n--regid=20001\n");
    g_assert_true(g_str_has_suffix(line, "\n--no-new-privs\n--\n/usr/bin/qemu-system-x86_64\n-name\na b"));
    g_ptr_array_unref(recorder.lines);
}

/* The former life of the unit is still known to systemd: cleared, tried again. */
static void test_start_again(void)
{
    g_autoptr(GError) error = NULL;
    Recorder recorder = {.lines = g_ptr_array_new_with_free_func(g_free), .failures = 1};
    ProcessRunner runner = {.run = record, .user_data = &recorder};
    g_assert_true(unit_start(&runner, "web1", program, &limits, &error));
    g_assert_cmpuint(recorder.lines->len, ==, 4);
    g_assert_cmpstr(recorder.lines->pdata[2], ==, "/usr/bin/systemctl\nreset-failed\nholdfast-guest@web1.service");
    g_assert_cmpstr(recorder.lines->pdata[3], ==, recorder.lines->pdata[0]);
    recorder.failures = 4;
    g_assert_false(unit_start(&runner, "web1", program, &limits, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED);
    g_ptr_array_unref(recorder.lines);
}

/* systemd hangs: what it may still start must be stopped when it wakes up. */
static void test_start_timeout(void)
{
    g_autoptr(GError) error = NULL;
    Recorder recorder = {.lines = g_ptr_array_new_with_free_func(g_free), .slow = TRUE};
    ProcessRunner runner = {.run = record, .user_data = &recorder};
    g_assert_false(unit_start(&runner, "web1", program, &limits, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    g_assert_cmpuint(recorder.lines->len, ==, 2);
    g_assert_cmpstr(recorder.lines->pdata[1], ==, "/usr/bin/systemctl\nstop\n--no-block\nholdfast-guest@web1.service");
    g_ptr_array_unref(recorder.lines);
}

/* A cgroup made of plain files, to play what a kernel does only when something is stuck. */
typedef struct {
    char *root, *folder;
} Tree;

static void tree_write(const Tree *tree, const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(tree->folder, name, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void tree_make(Tree *tree, const char *root)
{
    tree->root = g_strdup(root);
    tree->folder = g_build_filename(root, "holdfast.slice/holdfast-guests.slice/holdfast-guest@web1.service", NULL);
    g_assert_cmpint(g_mkdir_with_parents(tree->folder, 0755), ==, 0);
}

static void tree_remove(Tree *tree)
{
    for (char *end = tree->folder; strlen(tree->folder) >= strlen(tree->root) && end;
         end = strrchr(tree->folder, '/'), *end = '\0') {
        g_assert_cmpint(g_rmdir(tree->folder), ==, 0);
    }
    g_free(tree->root);
    g_free(tree->folder);
}

static void test_files(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *root = g_dir_make_tmp("holdfast-unit-XXXXXX", NULL);
    Tree tree = {0};
    g_assert_false(unit_cgroup_is_alive(root, "web1"));
    g_assert_true(unit_cgroup_kill(root, "web1", 10, &error)); /* nothing there: nothing to kill */
    tree_make(&tree, root);
    tree_write(&tree, "cgroup.procs", "123\n");
    tree_write(&tree, "cgroup.events", "populated 1\nfrozen 0\n");
    tree_write(&tree, "cgroup.kill", "-");
    g_assert_true(unit_cgroup_is_alive(root, "web1"));
    g_assert_false(unit_cgroup_is_alive(root, "web2"));
    g_assert_false(unit_cgroup_kill(root, "web1", 10, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    g_clear_error(&error);
    g_autofree char *kill_path = g_build_filename(tree.folder, "cgroup.kill", NULL);
    g_autofree char *written = NULL;
    g_assert_true(g_file_get_contents(kill_path, &written, NULL, NULL));
    g_assert_cmpstr(written, ==, "1");
    tree_write(&tree, "cgroup.procs", "");
    tree_write(&tree, "cgroup.events", "populated 0\nfrozen 0\n");
    g_assert_false(unit_cgroup_is_alive(root, "web1"));
    g_assert_true(unit_cgroup_kill(root, "web1", 10, &error));
    static const char *const names[] = {"cgroup.procs", "cgroup.events", "cgroup.kill"};
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(tree.folder, names[i], NULL);
        g_assert_cmpint(unlink(path), ==, 0);
    }
    tree_remove(&tree);
}

static void test_real_kill(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *mount_point = g_dir_make_tmp("holdfast-unit-XXXXXX", NULL);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", mount_point, "cgroup2", 0, NULL) != 0) {
        g_rmdir(mount_point);
        g_test_skip("may not mount a cgroup tree");
        return;
    }
    g_autofree char *name = g_strdup_printf("holdfast-test-%d", (int) getpid());
    g_autofree char *root = g_build_filename(mount_point, name, NULL);
    Tree tree = {0};
    tree_make(&tree, root);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGTERM, SIG_IGN);
        for (;;) {
            pause();
        }
    }
    g_autofree char *procs = g_build_filename(tree.folder, "cgroup.procs", NULL);
    g_autofree char *pid_text = g_strdup_printf("%d", (int) child);
    g_assert_false(unit_cgroup_is_alive(root, "web1"));
    FILE *file = g_fopen(procs, "w");
    g_assert_nonnull(file);
    g_assert_cmpint(fputs(pid_text, file), >=, 0);
    g_assert_cmpint(fclose(file), ==, 0);
    g_assert_true(unit_cgroup_is_alive(root, "web1"));
    g_assert_true(unit_cgroup_kill(root, "web1", 30000, &error));
    g_assert_false(unit_cgroup_is_alive(root, "web1"));
    int status = 0;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    tree_remove(&tree);
    g_assert_cmpint(umount(mount_point), ==, 0);
    g_rmdir(mount_point);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm/unit/start/line", test_start_line);
    g_test_add_func("/vmm/unit/start/again", test_start_again);
    g_test_add_func("/vmm/unit/start/timeout", test_start_timeout);
    g_test_add_func("/vmm/unit/cgroup/files", test_files);
    g_test_add_func("/vmm/unit/cgroup/real-kill", test_real_kill);
    return g_test_run();
}
