/* SPDX-License-Identifier: Apache-2.0
 * The child that tells what happens to DRBD, played by a shell script. Each start of it plays the next scene. */
#include "node-agent/drbd_watch.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define TIME "2026-11-21T14:48:33.710139+00:00 "
#define DEVICE "device name:hf-web1 volume:0 minor:16 disk:"
/* Lives on until it is killed. */
#define STAY "exec sleep 1000\n"

typedef struct {
    GMainLoop *loop;
    char *folder, *script;
    GString *told; /* guests, one blank after each */
    const char *until;
} Fixture;

static void set_up(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    f->loop = g_main_loop_new(NULL, FALSE);
    f->folder = g_dir_make_tmp("holdfast-watch-XXXXXX", NULL);
    f->script = g_build_filename(f->folder, "script", NULL);
    f->told = g_string_new(NULL);
}

static void tear_down(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *count = g_build_filename(f->folder, "count", NULL);
    g_unlink(f->script);
    g_unlink(count);
    g_assert_cmpint(g_rmdir(f->folder), ==, 0);
    g_main_loop_unref(f->loop);
    g_string_free(f->told, TRUE);
    g_free(f->script);
    g_free(f->folder);
}

static void on_change(const char *guest, gpointer user_data)
{
    Fixture *f = user_data;
    g_string_append_printf(f->told, "%s ", guest);
    if (g_str_has_suffix(f->told->str, f->until)) {
        g_main_loop_quit(f->loop);
    }
}

static gboolean on_too_late(gpointer user_data G_GNUC_UNUSED)
{
    g_error("what was waited for did not come");
    return G_SOURCE_REMOVE;
}

/* `scenes`: what the script does at its first, second, ... start, as branches of a case. Until `until` was told. */
static void play(Fixture *f, const char *scenes, const char *until)
{
    g_autofree char *text = g_strdup_printf("cd %s || exit\n"
                                            "echo >>count\n"
                                            "case $(wc -l <count) in\n%s\nesac\n",
                                            f->folder, scenes);
    g_assert_true(g_file_set_contents(f->script, text, -1, NULL));
    const char *argv[] = {"/bin/sh", f->script, NULL};
    f->until = until;
    guint limit = g_timeout_add_seconds(60, on_too_late, NULL);
    DrbdWatch *watch = drbd_watch_start(argv, on_change, f);
    g_main_loop_run(f->loop);
    drbd_watch_stop(watch);
    g_source_remove(limit);
}

/* Lines come in pieces and several at once; statistics and other people's resources wake nobody. */
static void test_lines(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    play(f,
         "*) printf '" TIME "exists " DEVICE "UpToDate\\n" TIME "exists device name:other volume:0 disk:UpToDate\\n'\n"
         "printf '" TIME "exists -\\n" TIME "change device name:hf-web1 volume:0 read:7\\n" TIME "change device na'\n"
         "sleep 0.1; printf 'me:hf-web2 volume:0 disk:Failed\\n'\n" STAY ";;",
         "web2 ");
    g_assert_cmpstr(f->told->str, ==, "web1 web2 ");
}

/* It ends: the next one's dump tells what differs, and what is gone. */
static void test_ends(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    play(f,
         "1) echo '" TIME "exists " DEVICE "UpToDate'; echo '" TIME
         "exists device name:hf-gone volume:0 disk:UpToDate'\n"
         "echo '" TIME "exists device name:hf-same volume:0 disk:UpToDate'; echo '" TIME "exists -'\n"
         "printf '" TIME "change device name:hf-same volume:0 disk:Failed' ;;\n" /* no line end: not a line */
         "*) echo '" TIME "exists device name:hf-same volume:0 disk:UpToDate'\n"
         "echo '" TIME "exists " DEVICE "Outdated'; echo '" TIME "exists -'\n" STAY ";;",
         "same web1 gone ");
    g_assert_cmpstr(f->told->str, ==, "web1 gone same web1 gone ");
}

/* Lost events, garbage and a line without end: from then on nothing of that child is believed. */
static void test_nonsense(Fixture *f, gconstpointer data G_GNUC_UNUSED)
{
    play(f,
         "1) echo '" TIME "exists " DEVICE "UpToDate'; echo '- skipped 3'; echo '" TIME "change " DEVICE
         "Failed'\n" STAY ";;\n"
         "2) echo 'no such line'; echo '" TIME "change " DEVICE "Failed'\n" STAY ";;\n"
         "3) head -c 100000 /dev/zero | tr '\\0' x\n" STAY ";;\n"
         "*) echo '" TIME "exists " DEVICE "Outdated'\n" STAY ";;",
         "web1 web1 ");
    g_assert_cmpstr(f->told->str, ==, "web1 web1 ");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_test_add("/drbd-watch/lines", Fixture, NULL, set_up, test_lines, tear_down);
    g_test_add("/drbd-watch/ends", Fixture, NULL, set_up, test_ends, tear_down);
    g_test_add("/drbd-watch/nonsense", Fixture, NULL, set_up, test_nonsense, tear_down);
    return g_test_run();
}
