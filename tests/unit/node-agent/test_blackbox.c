/* SPDX-License-Identifier: Apache-2.0
 * Lines, ring files and the tail in memory. */
#include "node-agent/blackbox_internal.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BOOT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define BOOT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static BlackboxLine *line_at(const char *boot, gint64 mono_us, const char *text)
{
    return blackbox_line_new(BLACKBOX_LOG, boot, mono_us, 1000000 + mono_us, 5, "corosync", text);
}

static void push(BlackboxTail *tail, const char *boot, gint64 mono_us)
{
    g_autoptr(BlackboxLine) line = line_at(boot, mono_us, "a line of the usual length, more or less");
    blackbox_tail_push(tail, line);
}

static void test_line_text(void)
{
    g_autoptr(BlackboxLine) line = blackbox_line_new(BLACKBOX_LOG, BOOT_A, 1, 1, 99, "x\n",
                                                     "  tab\there \x01\xff password=geheim, passwd: 'p w' ");
    g_assert_cmpstr(line->text, ==, "tab here  \xEF\xBF\xBD password=***, passwd: '*** w'");
    g_assert_cmpstr(line->source, ==, "x");
    g_assert_cmpint(line->priority, ==, 7);
    g_autofree char *euros = g_strnfill(1, 'x');
    for (int i = 0; i < 200; i++) {
        char *longer = g_strconcat(euros, "\xE2\x82\xAC", NULL);
        g_free(euros);
        euros = longer;
    }
    g_autoptr(BlackboxLine) cut = blackbox_line_new(BLACKBOX_LOG, BOOT_A, 1, 1, 5, "x", euros);
    g_assert_cmpuint(strlen(cut->text), <=, BLACKBOX_TEXT_MAX_BYTES);
    g_assert_cmpuint(strlen(cut->text), >, BLACKBOX_TEXT_MAX_BYTES - 3);
    g_assert_true(g_utf8_validate(cut->text, -1, NULL));
}

static void test_line_codec(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlackboxLine) line = line_at(BOOT_A, 42, "[QUORUM] Members[2]: 2 3");
    g_autoptr(json_t) object = blackbox_line_to_json(line);
    g_autoptr(BlackboxLine) back = blackbox_line_from_json(object, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(back->boot, ==, BOOT_A);
    g_assert_cmpint(back->mono_us, ==, 42);
    g_assert_cmpint(back->time_us, ==, 1000042);
    g_assert_cmpstr(back->text, ==, line->text);
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"k\":\"log\",\"b\":\"short\",\"m\":1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\"}",
        "{\"k\":\"log\",\"b\":\"../../../../../../../../etc/pass\",\"m\":1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\"}",
        "{\"k\":\"log\",\"b\":\"" BOOT_A "\",\"m\":-1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\"}",
        "{\"k\":\"log\",\"b\":\"" BOOT_A "\",\"m\":1,\"t\":1,\"p\":9,\"s\":\"x\",\"x\":\"y\"}",
        "{\"k\":\"log\",\"b\":\"" BOOT_A "\",\"m\":1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"a\\u001b[2J\"}",
        "{\"k\":\"log\",\"b\":\"" BOOT_A "\",\"m\":1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\",\"z\":1}",
        "{\"k\":\"clock\",\"b\":\"" BOOT_A "\",\"m\":1,\"t\":1,\"p\":5,\"s\":\"x\",\"x\":\"y\"}",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(json_t) garbage = json_loads(bad[i], 0, NULL);
        g_assert_nonnull(garbage);
        g_assert_null(blackbox_line_from_json(garbage, NULL));
    }
    g_autofree char *huge = g_strnfill(BLACKBOX_TEXT_MAX_BYTES + 1, 'y');
    json_object_set_new(object, "x", json_string(huge));
    g_assert_null(blackbox_line_from_json(object, NULL));
}

static void test_filter(void)
{
    g_assert_true(blackbox_wanted("corosync", 5, "[TOTEM ] A processor failed, forming new configuration"));
    g_assert_true(blackbox_wanted("corosync", 6, "[KNET  ] link: host: 1 link: 0 is down"));
    g_assert_false(blackbox_wanted("corosync", 6, "[KNET  ] pmtud: MTU manually set to: 0"));
    g_assert_true(blackbox_wanted("kernel", 6, "block drbd16: conn( SyncTarget -> Connected )"));
    g_assert_true(blackbox_wanted("kernel", 3, "INFO: task jbd2:77 blocked for more than 120 seconds."));
    g_assert_false(blackbox_wanted("kernel", 6, "pci 0000:00:01.0: reg 0x10"));
    g_assert_false(blackbox_wanted("sshd", 0, "Kernel panic"));
    g_assert_false(blackbox_wanted("pacemaker-fenced", 4, "stderr: [ DeprecationWarning: 'pipes' is deprecated ]"));
    g_assert_true(blackbox_wanted("systemd", 6, "Stopping corosync.service - Corosync Cluster Engine..."));
    g_autofree char *etcd = blackbox_text_of("etcd", "{\"level\":\"warn\",\"msg\":\"lost leader\",\"ts\":\"x\"}");
    g_assert_cmpstr(etcd, ==, "warn: lost leader");
    g_autofree char *plain = blackbox_text_of("etcd", "{\"level\":");
    g_assert_cmpstr(plain, ==, "{\"level\":");
}

static void test_clock(void)
{
    BlackboxClock clock = {0};
    gint64 offset_us = 0;
    g_assert_false(blackbox_clock_best(&clock, &offset_us));
    /* The server is 5 s ahead; one way took 1 ms, the other 9 ms: half the difference is the error. */
    blackbox_clock_add(&clock, 1000000, 6001000, 6001500, 1010500);
    g_assert_true(blackbox_clock_best(&clock, &offset_us));
    g_assert_cmpint(offset_us, ==, 5000000 - 4000);
    /* A shorter round trip is believed; one in which a clock was set is not even counted. */
    blackbox_clock_add(&clock, 2000000, 7000100, 7000100, 2000200);
    blackbox_clock_add(&clock, 3000000, 8000000, 8000000, 2000000);
    g_assert_true(blackbox_clock_best(&clock, &offset_us));
    g_assert_cmpint(offset_us, ==, 5000000);
}

/* --- the tail
 * ---------------------------------------------------------------------------------------------------------------- */

static gint64 first_after(BlackboxTail *tail, const char *boot, gint64 mono_us, guint *ret_n, gboolean *ret_gap)
{
    BlackboxPlace place;
    blackbox_place_set(&place, boot, mono_us);
    g_autoptr(GPtrArray) lines = blackbox_tail_after(tail, &place, 3, 0, ret_gap);
    *ret_n = lines->len;
    return lines->len ? ((const BlackboxLine *) lines->pdata[0])->mono_us : -1;
}

static void test_tail_resumes(void)
{
    g_autoptr(BlackboxTail) tail = blackbox_tail_new(1024 * 1024);
    gboolean gap = TRUE;
    guint n = 0;
    g_assert_cmpint(first_after(tail, "", 0, &n, &gap), ==, -1);
    g_assert_false(gap);
    for (gint64 at = 10; at <= 50; at += 10) {
        push(tail, BOOT_A, at);
    }
    push(tail, BOOT_B, 5);
    g_assert_cmpint(first_after(tail, "", 0, &n, &gap), ==, 10);
    g_assert_cmpuint(n, ==, 3);
    g_assert_false(gap);
    g_assert_cmpint(first_after(tail, BOOT_A, 20, &n, &gap), ==, 30);
    g_assert_false(gap);
    /* The peer has more of the last life than our own disk kept: go on with the new life. */
    g_assert_cmpint(first_after(tail, BOOT_A, 5000, &n, &gap), ==, 5);
    g_assert_cmpuint(n, ==, 1);
    g_assert_false(gap);
    g_assert_cmpint(first_after(tail, BOOT_B, 5, &n, &gap), ==, -1);
    g_assert_false(gap);
    /* Of the same life it has only what is older than all we know. */
    g_assert_cmpint(first_after(tail, BOOT_A, 3, &n, &gap), ==, 10);
    g_assert_true(gap);
}

static void test_tail_is_bounded(void)
{
    g_autoptr(BlackboxTail) tail = blackbox_tail_new(8192);
    gboolean gap = FALSE;
    guint n = 0;
    for (gint64 at = 1; at <= 1000; at++) {
        push(tail, BOOT_A, at);
    }
    gint64 oldest = first_after(tail, "", 0, &n, &gap);
    g_assert_cmpint(oldest, >, 900);
    g_assert_false(gap); /* a stream that begins misses nothing */
    first_after(tail, BOOT_A, oldest - 1, &n, &gap);
    g_assert_false(gap);
    g_assert_cmpint(first_after(tail, BOOT_A, oldest - 2, &n, &gap), ==, oldest);
    g_assert_true(gap);
    g_assert_cmpint(first_after(tail, BOOT_B, 7, &n, &gap), ==, oldest);
    g_assert_true(gap);
}

static gpointer push_later(gpointer tail)
{
    push(tail, BOOT_A, 1);
    return NULL;
}

static void test_tail_wakes(void)
{
    g_autoptr(BlackboxTail) tail = blackbox_tail_new(8192);
    BlackboxPlace place = {0};
    gboolean gap = FALSE;
    GThread *thread = g_thread_new("pusher", push_later, tail);
    g_autoptr(GPtrArray) lines = blackbox_tail_after(tail, &place, 3, 30000, &gap);
    g_assert_cmpuint(lines->len, ==, 1);
    g_thread_join(thread);
    blackbox_tail_close(tail);
    blackbox_place_set(&place, BOOT_A, 1);
    g_autoptr(GPtrArray) none = blackbox_tail_after(tail, &place, 3, 30000, &gap); /* does not wait */
    g_assert_cmpuint(none->len, ==, 0);
}

/* --- ring files
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct {
    char *folder, *path, *old_path;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    fixture->folder = g_dir_make_tmp("holdfast-ring-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "n1.log", NULL);
    fixture->old_path = g_build_filename(fixture->folder, "n1.log.old", NULL);
}

static void tear_down(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_unlink(fixture->path);
    g_unlink(fixture->old_path);
    g_rmdir(fixture->folder);
    g_free(fixture->folder);
    g_free(fixture->path);
    g_free(fixture->old_path);
}

static void collect(BlackboxLine *line, gpointer user_data)
{
    g_ptr_array_add(user_data, blackbox_line_ref(line));
}

static GPtrArray *lines_of(BlackboxRing *ring)
{
    GPtrArray *lines = g_ptr_array_new_with_free_func((GDestroyNotify) blackbox_line_unref);
    blackbox_ring_each(ring, collect, lines);
    return lines;
}

static void append(BlackboxRing *ring, const char *boot, gint64 mono_us, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(BlackboxLine) line = line_at(boot, mono_us, text);
    blackbox_ring_append(ring, line, &error);
    g_assert_no_error(error);
}

static void raw_append(const char *path, const char *text)
{
    FILE *file = fopen(path, "a");
    g_assert_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void test_ring_keeps_order_once(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    {
        g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
        g_assert_cmpstr(blackbox_ring_place(ring).boot, ==, "");
        append(ring, BOOT_A, 1, "one");
        append(ring, BOOT_A, 2, "two");
        append(ring, BOOT_A, 2, "two again");
        append(ring, BOOT_A, 1, "one again");
        append(ring, BOOT_B, 1, "of the next life");
    }
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
    g_assert_cmpstr(blackbox_ring_place(ring).boot, ==, BOOT_B);
    append(ring, BOOT_B, 1, "again, after a restart");
    append(ring, BOOT_B, 2, "last");
    g_autoptr(GPtrArray) lines = lines_of(ring);
    g_assert_cmpuint(lines->len, ==, 4);
    g_assert_cmpstr(((const BlackboxLine *) lines->pdata[1])->text, ==, "two");
    g_assert_cmpstr(((const BlackboxLine *) lines->pdata[3])->text, ==, "last");
}

static void test_ring_is_bounded(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 16384);
    for (gint64 at = 1; at <= 2000; at++) {
        append(ring, BOOT_A, at, "a line of the usual length, more or less");
    }
    GStatBuf now, old;
    g_assert_cmpint(g_stat(fixture->path, &now), ==, 0);
    g_assert_cmpint(g_stat(fixture->old_path, &old), ==, 0);
    g_assert_cmpint(now.st_size, <=, 8192);
    g_assert_cmpint(old.st_size, <=, 8192);
    g_assert_cmpint(old.st_size, >, 7000);
    g_autoptr(GPtrArray) lines = lines_of(ring);
    const BlackboxLine *last = lines->pdata[lines->len - 1], *first = lines->pdata[0];
    g_assert_cmpint(last->mono_us, ==, 2000);
    g_assert_cmpint(first->mono_us, ==, 2000 - (gint64) lines->len + 1); /* no hole */
}

static void test_ring_survives_a_crash(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    {
        g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
        append(ring, BOOT_A, 1, "one");
        append(ring, BOOT_A, 2, "two");
    }
    raw_append(fixture->path, "not JSON at all\n{\"k\":\"log\"}\n{\"k\":\"log\",\"b\":\"" BOOT_A "\",\"m\":3,\"t\":");
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
    g_assert_cmpint(blackbox_ring_place(ring).mono_us, ==, 2);
    append(ring, BOOT_A, 3, "three");
    g_autoptr(GPtrArray) lines = lines_of(ring);
    g_assert_cmpuint(lines->len, ==, 3);
    g_assert_cmpstr(((const BlackboxLine *) lines->pdata[2])->text, ==, "three");
}

/* A file that is not ours, or of another version, is begun anew rather than mixed. */
static void test_ring_of_another_version(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    raw_append(fixture->path, "{\"blackbox\":2}\n{\"k\":\"log\"}\n");
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
    append(ring, BOOT_A, 1, "one");
    g_autoptr(GPtrArray) lines = lines_of(ring);
    g_assert_cmpuint(lines->len, ==, 1);
}

/* A disk that takes a part of a line and then no more: nothing torn stays. */
static void test_ring_on_a_full_disk(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    struct rlimit before, full;
    GStatBuf whole, after;
    g_autoptr(GError) error = NULL;
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
    append(ring, BOOT_A, 1, "one");
    g_assert_cmpint(g_stat(fixture->path, &whole), ==, 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    full = before;
    full.rlim_cur = (rlim_t) whole.st_size + 10;
    setrlimit(RLIMIT_FSIZE, &full);
    g_autoptr(BlackboxLine) two = line_at(BOOT_A, 2, "two");
    gboolean kept = blackbox_ring_append(ring, two, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    g_assert_false(kept);
    g_assert_nonnull(error);
    g_assert_cmpint(g_stat(fixture->path, &after), ==, 0);
    g_assert_cmpint(after.st_size, ==, whole.st_size);
    append(ring, BOOT_A, 3, "three");
    g_autoptr(GPtrArray) lines = lines_of(ring);
    g_assert_cmpuint(lines->len, ==, 3);
    g_assert_cmpint(((const BlackboxLine *) lines->pdata[1])->kind, ==, BLACKBOX_GAP);
    g_assert_cmpstr(((const BlackboxLine *) lines->pdata[2])->text, ==, "three");
}

static void test_ring_that_cannot_be_opened(Fixture *fixture, gconstpointer data G_GNUC_UNUSED)
{
    g_autoptr(GError) error = NULL, second = NULL;
    g_autoptr(BlackboxRing) ring = blackbox_ring_new(fixture->folder, "n1", 65536);
    g_mkdir(fixture->path, 0700); /* cannot be opened for writing, whoever asks */
    g_autoptr(BlackboxLine) one = line_at(BOOT_A, 1, "one"), two = line_at(BOOT_A, 2, "two");
    g_assert_false(blackbox_ring_append(ring, one, &error));
    g_assert_nonnull(error);
    g_assert_false(blackbox_ring_append(ring, two, &second));
    g_assert_null(second); /* said once */
    g_assert_cmpuint(blackbox_ring_lost(ring), ==, 2);
    g_assert_cmpint(blackbox_ring_place(ring).mono_us, ==, 2); /* and not asked for again */
    g_rmdir(fixture->path);
    append(ring, BOOT_A, 3, "three");
    g_assert_cmpuint(blackbox_ring_lost(ring), ==, 0);
    g_autoptr(GPtrArray) lines = lines_of(ring);
    g_assert_cmpuint(lines->len, ==, 2);
    g_assert_cmpint(((const BlackboxLine *) lines->pdata[0])->kind, ==, BLACKBOX_GAP);
    g_assert_nonnull(strstr(((const BlackboxLine *) lines->pdata[0])->text, "2 lines"));
    g_assert_cmpstr(((const BlackboxLine *) lines->pdata[1])->text, ==, "three");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/blackbox/line/text", test_line_text);
    g_test_add_func("/blackbox/line/codec", test_line_codec);
    g_test_add_func("/blackbox/line/filter", test_filter);
    g_test_add_func("/blackbox/clock", test_clock);
    g_test_add_func("/blackbox/tail/resumes", test_tail_resumes);
    g_test_add_func("/blackbox/tail/bounded", test_tail_is_bounded);
    g_test_add_func("/blackbox/tail/wakes", test_tail_wakes);
    g_test_add("/blackbox/ring/order", Fixture, NULL, set_up, test_ring_keeps_order_once, tear_down);
    g_test_add("/blackbox/ring/bounded", Fixture, NULL, set_up, test_ring_is_bounded, tear_down);
    g_test_add("/blackbox/ring/crash", Fixture, NULL, set_up, test_ring_survives_a_crash, tear_down);
    g_test_add("/blackbox/ring/version", Fixture, NULL, set_up, test_ring_of_another_version, tear_down);
    g_test_add("/blackbox/ring/full", Fixture, NULL, set_up, test_ring_on_a_full_disk, tear_down);
    g_test_add("/blackbox/ring/closed", Fixture, NULL, set_up, test_ring_that_cannot_be_opened, tear_down);
    return g_test_run();
}
