/* SPDX-License-Identifier: Apache-2.0
 * The real probe on a real file and on one that blocks (a FIFO nobody reads), and what holdfastd makes of its words. */
#include "node-agent/disk_probe.h"
#include "storage/stall.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    char *folder, *device, *program;
    guint limit;
} Fixture;

static gboolean on_too_late(gpointer user_data G_GNUC_UNUSED)
{
    g_error("what was waited for did not come");
    return G_SOURCE_REMOVE;
}

static void set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *programs = g_getenv("HOLDFAST_BIN_DIR");
    g_autofree char *here = g_get_current_dir(); /* not /tmp: O_DIRECT does not work on a tmpfs */
    g_autofree char *pattern = g_build_filename(here, "build", "probe-XXXXXX", NULL);
    g_mkdir_with_parents("build", 0755);
    f->folder = g_strdup(g_mkdtemp(pattern));
    f->device = g_build_filename(f->folder, "device", NULL);
    g_autofree char *bin = g_canonicalize_filename(programs ? programs : "build/bin", here);
    f->program = g_build_filename(bin, "holdfast-disk-probe", NULL);
    f->limit = g_timeout_add_seconds(60, on_too_late, NULL);
}

static void tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_source_remove(f->limit);
    g_unlink(f->device);
    g_assert_cmpint(g_rmdir(f->folder), ==, 0);
    g_free(f->program);
    g_free(f->device);
    g_free(f->folder);
}

static void file_make(const Fixture *f)
{
    char block[8192] = {0};
    g_assert_true(g_file_set_contents(f->device, block, sizeof(block), NULL));
}

/* Until it has said so many things more. */
static DiskProbeSaid wait_rounds(DiskProbe *probe, guint64 more)
{
    guint64 until = disk_probe_said(probe).rounds + more;
    while (disk_probe_said(probe).rounds < until) {
        g_main_context_iteration(NULL, TRUE);
    }
    return disk_probe_said(probe);
}

static void test_answers(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *argv[] = {f->program, f->device, "20", NULL};
    file_make(f);
    DiskProbe *probe = disk_probe_start(argv);
    Stall stall = {0};
    for (int i = 0; i < 10; i++) {
        DiskProbeSaid said = wait_rounds(probe, 2);
        g_assert_cmpstr(said.error, ==, "");
        g_assert_cmpint(stall_look(&stall, said.pending, said.rounds, (i + 1) * 3 * (gint64) G_USEC_PER_SEC), ==, 0);
    }
    disk_probe_stop(probe);
}

/* It blocks in open(), for nobody reads; its main thread here never does. Once there is a reader it goes on. */
static void test_hangs_and_goes_on(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *argv[] = {"/bin/sh", "-c", "while :; do echo begin; echo x >\"$0\"; echo end; done", f->device, NULL};
    g_assert_cmpint(mkfifo(f->device, 0600), ==, 0);
    DiskProbe *probe = disk_probe_start(argv);
    Stall stall = {0};
    while (!disk_probe_said(probe).pending) {
        g_main_context_iteration(NULL, FALSE);
    }
    gint64 stalled_us = 0;
    for (int i = 1; i <= 15; i++) {
        while (g_main_context_iteration(NULL, FALSE)) {
        }
        DiskProbeSaid said = disk_probe_said(probe);
        stalled_us = stall_look(&stall, said.pending, said.rounds, i * 3 * G_USEC_PER_SEC);
    }
    g_assert_cmpint(stalled_us, ==, 42 * G_USEC_PER_SEC);
    int fd = open(f->device, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    DiskProbeSaid said = wait_rounds(probe, 2);
    g_assert_cmpint(stall_look(&stall, said.pending, said.rounds, 48 * G_USEC_PER_SEC), ==, 0);
    disk_probe_stop(probe);
    close(fd);
}

/* Errors are told and end with the cause. */
static void test_error(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    const char *argv[] = {f->program, f->device, "20", NULL};
    DiskProbe *probe = disk_probe_start(argv);
    while (!disk_probe_said(probe).error[0]) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(disk_probe_said(probe).error, ==, "open: No such file or directory");
    file_make(f);
    while (disk_probe_said(probe).error[0]) {
        g_main_context_iteration(NULL, TRUE);
    }
    disk_probe_stop(probe);
}

/* A child that ends or talks nonsense is replaced, and what it was at is not pending any more. */
static void test_restart(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *script = g_strdup_printf("if [ -e %s ]; then echo begin; echo nonsense; sleep 100; "
                                              "else echo begin; echo >%s; fi",
                                              f->device, f->device);
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    DiskProbe *probe = disk_probe_start(argv);
    wait_rounds(probe, 6); /* start and "begin" of three children */
    disk_probe_stop(probe);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
#define ADD(name, test) g_test_add("/disk-probe/" name, Fixture, NULL, set_up, test, tear_down)
    ADD("answers", test_answers);
    ADD("hangs-and-goes-on", test_hangs_and_goes_on);
    ADD("error", test_error);
    ADD("restart", test_restart);
    return g_test_run();
}
