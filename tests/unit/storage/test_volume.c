/* SPDX-License-Identifier: Apache-2.0
 * The volume set against a fake node: killed and crashed at every single step it converges to the same end, and never
 * touches data. */
#include "storage/copy.h"
#include "storage/gate.h"
#include "storage/image.h"
#include "storage/volume.h"
#include "tests/unit/storage/fake_runner.h"

#include <glib/gstdio.h>

#define MIB ((gint64) 1024 * 1024)

typedef struct {
    FakeWorld world;
    Guest guest;
    Volume volumes[2];
    GPtrArray *list;
    VolumeSet set;
} Fixture;

/* In the place of storage/image.c and copy.c: the image is this program's own file, the target a fake volume. */
char *image_path(const char *name)
{
    return g_strcmp0(name, "here") == 0 ? g_file_read_link("/proc/self/exe", NULL) : g_strdup("/nonexistent/image");
}

gboolean copy_sparse(const char *source G_GNUC_UNUSED, const char *target, const CopyOptions *options, GError **error)
{
    FakeMinor *minor = fake_minor(atoi(target + strlen("/dev/drbd")));
    g_assert_true(minor && minor->primary);
    if (g_cancellable_is_cancelled(options->cancellable)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (fake_step(fake_world, KILL_BEFORE)) {
        return fake_die(error);
    }
    fake_lv(minor->lv)->data = TRUE;
    g_ptr_array_add(fake_world->log, g_strdup_printf("copy to %s", target));
    if (options->on_progress) {
        options->on_progress(50, 100, options->user_data);
    }
    return fake_step(fake_world, KILL_AFTER) ? fake_die(error) : TRUE;
}

static char *two_nodes[] = {"n1", "n2", NULL};
static char *one_node[] = {"n1", NULL};

static void fixture_start(Fixture *f, gboolean two)
{
    fake_world_start(&f->world);
    f->world.pv_vg = g_strdup("holdfast");
    f->world.vg = f->world.pool = f->world.pool_errors_when_full = TRUE;
    f->guest = (Guest){
        .name = "web1", .uuid = "0190-aa", .slot = 5, .nodes = two ? two_nodes : one_node, .drbd_secret = "5ec7e7"};
    f->volumes[0] = (Volume){.guest = "web1", .index = 0, .size_bytes = 64 * MIB, .image = "here"};
    f->volumes[1] = (Volume){.guest = "web1", .index = 1, .size_bytes = 32 * MIB};
    f->list = g_ptr_array_new();
    g_ptr_array_add(f->list, &f->volumes[0]);
    g_ptr_array_add(f->list, &f->volumes[1]);
    f->set = (VolumeSet){.runner = &f->world.runner,
                         .guest = &f->guest,
                         .volumes = f->list,
                         .node = "n1",
                         .address = "10.0.0.1",
                         .peer_address = two ? "10.0.0.2" : NULL};
}

static void fixture_clear(Fixture *f)
{
    g_ptr_array_unref(f->list);
    fake_world_clear(&f->world);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static gboolean create(const Fixture *f, GError **error)
{
    return volume_set_converge(&f->set, TRUE, error) && volume_set_initialise(&f->set, NULL, NULL, NULL, error);
}

static void status_free(VolumeStatus *status)
{
    object_free(&volume_status_type, status);
}

static void assert_code(GError *error, int code)
{
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_error_free(error);
}

/* Everything that lasts or is visible, as text. */
static char *world_text(const FakeWorld *w)
{
    g_autoptr(GString) text = g_string_new(NULL);
    static const char *const lvs[] = {"hf-web1-0", "hf-web1-1"};
    static const char *const gates[] = {"hfgate-web1-0", "hfgate-web1-1"};
    for (int i = 0; i < 2; i++) {
        const FakeLv *lv = fake_lv(lvs[i]);
        const FakeMinor *minor = fake_minor(80 + i);
        const FakeGate *gate = g_hash_table_lookup(w->gates, gates[i]);
        g_string_append_printf(text, "%s: ", lvs[i]);
        if (lv) {
            g_string_append_printf(text, "%" G_GINT64_FORMAT " MiB %s%s%s%s%s; ", lv->size / MIB,
                                   lv->tag ? lv->tag : "", lv->active ? " active" : "", lv->metadata ? " metadata" : "",
                                   lv->fresh ? " fresh" : "", lv->data ? " data" : "");
        }
        g_string_append_printf(text, "minor %s%s; gate %s\n", minor ? fake_disk(minor) : "none",
                               minor && minor->primary ? " primary" : "", gate ? gate->table : "none");
    }
    g_string_append_printf(text, "net %s, %u lvs\n", w->net ? "connected" : "none", g_hash_table_size(w->lvs));
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static const char created_text[] =
    "hf-web1-0: 68 MiB hf-uuid-0190-aa active metadata data; minor UpToDate; gate 0 131072 error\n"
    "hf-web1-1: 36 MiB hf-uuid-0190-aa active metadata; minor UpToDate; gate 0 65536 error\n";

static void assert_created(const FakeWorld *w, gboolean two, const char *when)
{
    g_autofree char *wanted = g_strdup_printf("%snet %s, 2 lvs\n", created_text, two ? "connected" : "none");
    g_autofree char *got = world_text(w);
    if (w->violation || strcmp(wanted, got) != 0) {
        g_error("%s: violation %s\nwanted:\n%sgot:\n%s", when, w->violation ? w->violation : "none", wanted, got);
    }
}

/* ---- killed anywhere ---- */

static int create_uninterrupted(gboolean two)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, two);
    GError *error = NULL;
    g_assert_true(create(&f, &error));
    g_assert_no_error(error);
    assert_created(&f.world, two, "uninterrupted");
    return f.world.commands;
}

static void create_killed_at(int step, FakeKill kill, gboolean crash, gboolean two)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, two);
    f.world.kill_at = step;
    f.world.kill = kill;
    g_autofree char *when =
        g_strdup_printf("killed %s step %d, %s, %d replicas", kill == KILL_BEFORE ? "before" : "after", step,
                        crash ? "node crashed" : "process only", two ? 2 : 1);
    GError *killed = NULL;
    gboolean finished = create(&f, &killed);
    if (finished != !f.world.dead) { /* dying at the very last step, after it, still counts as dead */
        g_error("%s: finished %d dead %d", when, finished, f.world.dead);
    }
    g_clear_error(&killed);
    fake_world_restart(&f.world, crash);
    GError *error = NULL;
    if (!create(&f, &error)) {
        g_error("%s: the next run fails: %s", when, error->message);
    }
    assert_created(&f.world, two, when);
}

static void test_create_killed_everywhere(void)
{
    for (int two = 0; two < 2; two++) {
        int steps = create_uninterrupted(two);
        g_assert_cmpint(steps, >, 20);
        for (int step = 1; step <= steps; step++) {
            for (int crash = 0; crash < 2; crash++) {
                create_killed_at(step, KILL_BEFORE, crash, two);
                create_killed_at(step, KILL_AFTER, crash, two);
            }
        }
    }
}

static void fill_with_data(FakeWorld *w, gboolean data)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, w->lvs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        ((FakeLv *) value)->data = data;
    }
}

/* After the record left RECORD_NEW: activate, promote, demote killed anywhere, then repeated. */
static void test_run_killed_everywhere(void)
{
    for (int step = 1; step < 60; step++) {
        for (int mode = 0; mode < 4; mode++) {
            g_auto(Fixture) f = {0};
            fixture_start(&f, TRUE);
            g_assert_true(create(&f, NULL));
            fill_with_data(&f.world, TRUE);
            fake_world_restart(&f.world, TRUE);
            f.world.commands = 0;
            f.world.kill_at = step;
            f.world.kill = mode & 1 ? KILL_BEFORE : KILL_AFTER;
            gboolean done = volume_set_activate(&f.set, NULL) && volume_set_promote(&f.set, NULL) &&
                            volume_set_demote(&f.set, NULL);
            g_assert_true(done == !f.world.dead);
            fake_world_restart(&f.world, mode & 2);
            GError *error = NULL;
            g_assert_true(volume_set_activate(&f.set, &error) && volume_set_promote(&f.set, &error));
            g_assert_no_error(error);
            g_autofree char *running = world_text(&f.world);
            g_assert_nonnull(strstr(running, "primary; gate 0 131072 linear 147:80 0"));
            g_assert_nonnull(strstr(running, "primary; gate 0 65536 linear 147:81 0"));
            g_assert_true(volume_set_demote(&f.set, &error));
            g_autofree char *stopped = world_text(&f.world);
            g_assert_null(strstr(stopped, "primary"));
            g_assert_null(strstr(stopped, "linear"));
            g_assert_cmpstr(f.world.violation, ==, NULL);
        }
    }
}

static void test_remove_killed_everywhere(void)
{
    for (int step = 1; step < 30; step++) {
        for (int mode = 0; mode < 4; mode++) {
            g_auto(Fixture) f = {0};
            fixture_start(&f, TRUE);
            g_assert_true(create(&f, NULL));
            fill_with_data(&f.world, FALSE); /* this time they may go */
            f.world.commands = 0;
            f.world.kill_at = step;
            f.world.kill = mode & 1 ? KILL_BEFORE : KILL_AFTER;
            g_assert_true(volume_set_remove(&f.set, NULL) == !f.world.dead);
            fake_world_restart(&f.world, mode & 2);
            GError *error = NULL;
            g_assert_true(volume_set_remove(&f.set, &error));
            g_autofree char *text = world_text(&f.world);
            g_assert_cmpstr(text, ==,
                            "hf-web1-0: minor none; gate none\nhf-web1-1: minor none; gate none\nnet none, 0 lvs\n");
        }
    }
}

/* ---- growing ---- */

static const char grown_text[] =
    "hf-web1-0: 132 MiB hf-uuid-0190-aa active metadata data; minor UpToDate primary; gate 0 262144 linear 147:80 0\n"
    "hf-web1-1: 36 MiB hf-uuid-0190-aa active metadata; minor UpToDate primary; gate 0 65536 linear 147:81 0\n";

static gboolean is_full_size(const Fixture *f)
{
    return volume_set_usable_bytes(&f->set, 0) == f->volumes[0].size_bytes &&
           volume_set_usable_bytes(&f->set, 1) == f->volumes[1].size_bytes;
}

static void assert_grown(const Fixture *f, const char *when)
{
    g_autofree char *wanted = g_strdup_printf("%snet %s, 2 lvs\n", grown_text, f->world.net ? "connected" : "none");
    g_autofree char *got = world_text(&f->world);
    if (f->world.violation || strcmp(wanted, got) != 0 || !is_full_size(f)) {
        g_error("%s: violation %s\nwanted:\n%sgot:\n%s", when, f->world.violation ? f->world.violation : "none", wanted,
                got);
    }
}

static void running(Fixture *f, gboolean two)
{
    fixture_start(f, two);
    g_assert_true(create(f, NULL) && volume_set_promote(&f->set, NULL));
    g_assert_true(is_full_size(f) && volume_set_is_primary(&f->set));
}

static void grow_killed_at(int step, FakeKill kill, gboolean crash, gboolean two, gboolean *ret_died)
{
    g_auto(Fixture) f = {0};
    running(&f, two);
    f.volumes[0].size_bytes = 128 * MIB;
    f.world.commands = 0;
    f.world.kill_at = step;
    f.world.kill = kill;
    g_autofree char *when =
        g_strdup_printf("growth killed %s step %d, %s, %d replicas", kill == KILL_BEFORE ? "before" : "after", step,
                        crash ? "node crashed" : "process only", two ? 2 : 1);
    volume_set_converge(&f.set, FALSE, NULL);
    *ret_died = f.world.dead;
    fake_world_restart(&f.world, crash);
    GError *error = NULL;
    if (crash && !(volume_set_activate(&f.set, &error) && volume_set_promote(&f.set, &error))) {
        g_error("%s: the next start fails: %s", when, error->message);
    }
    if (!volume_set_converge(&f.set, FALSE, &error)) {
        g_error("%s: the next run fails: %s", when, error->message);
    }
    assert_grown(&f, when);
}

static void test_grow_killed_everywhere(void)
{
    for (int mode = 0; mode < 8; mode++) {
        gboolean died = TRUE;
        int step = 0;
        while (died) {
            grow_killed_at(++step, mode & 1 ? KILL_BEFORE : KILL_AFTER, mode & 2, mode & 4, &died);
        }
        g_assert_cmpint(step, >, 10);
    }
}

/* DRBD takes the smaller LV: nothing changes for the guest before the peer has grown its own, then all of it at once.
 */
static void test_grow_waits_for_the_peer(void)
{
    g_auto(Fixture) f = {0};
    running(&f, TRUE);
    f.world.peer_lv_size[0] = 68 * MIB;
    f.volumes[0].size_bytes = 128 * MIB;
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    g_assert_false(is_full_size(&f));
    g_autofree char *before = world_text(&f.world);
    g_assert_nonnull(strstr(before, "hf-web1-0: 132 MiB"));
    g_assert_nonnull(strstr(before, "gate 0 131072 linear 147:80 0"));
    g_autoptr(GPtrArray) statuses = g_ptr_array_new_with_free_func((GDestroyNotify) status_free);
    volume_set_status(&f.set, statuses);
    const VolumeStatus *status = statuses->pdata[0];
    g_assert_cmpint(status->backing_bytes, ==, 132 * MIB);
    g_assert_cmpint(status->size_bytes, ==, 67 * MIB); /* what DRBD has: its LV less its metadata */
    f.world.peer_lv_size[0] = 132 * MIB;
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    assert_grown(&f, "the peer has grown");
    volume_set_status(&f.set, statuses);
    status = statuses->pdata[2];
    g_assert_cmpint(status->size_bytes, ==, 128 * MIB);
    g_assert_cmpstr(status->peer_disk, ==, "Inconsistent"); /* until the new area is copied */
}

/* With the peer away DRBD is not even asked: it has nobody to agree with. */
static void test_grow_without_the_peer(void)
{
    g_auto(Fixture) f = {0};
    running(&f, TRUE);
    f.world.peer_there = FALSE;
    f.volumes[0].size_bytes = 128 * MIB;
    g_free(fake_log_take(&f.world));
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    g_autofree char *log = fake_log_take(&f.world);
    g_assert_null(strstr(log, " resize "));
    g_assert_false(is_full_size(&f));
    f.world.peer_there = TRUE;
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    assert_grown(&f, "the peer is back");
}

/* Grown while its guest is stopped: DRBD wants a Primary, so the next start does it. */
static void test_grow_stopped(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL));
    f.volumes[0].size_bytes = 128 * MIB;
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    g_assert_false(is_full_size(&f) || volume_set_is_primary(&f.set));
    g_assert_cmpint(fake_lv("hf-web1-0")->size, ==, 132 * MIB);
    g_assert_true(volume_set_promote(&f.set, NULL));
    assert_grown(&f, "started");
}

/* The store is older than the disk: neither a running guest's gate nor a start may cut it off. */
static void test_larger_than_the_store_knows(void)
{
    g_auto(Fixture) f = {0};
    running(&f, TRUE);
    f.volumes[0].size_bytes = 128 * MIB;
    g_assert_true(volume_set_converge(&f.set, FALSE, NULL));
    f.volumes[0].size_bytes = 64 * MIB;
    GError *error = NULL;
    g_assert_false(volume_set_converge(&f.set, FALSE, &error));
    g_assert_cmpint(holdfast_error_code(error), ==, HOLDFAST_ERROR_REFUSED);
    g_assert_nonnull(strstr(error->message, "hf-web1-0 on n1 is larger than the store knows"));
    g_assert_nonnull(strstr(error->message, "'holdfast volume grow web1-0 128'"));
    g_clear_error(&error);
    g_assert_true(volume_set_demote(&f.set, NULL));
    g_assert_false(volume_set_activate(&f.set, &error));
    g_assert_cmpint(holdfast_error_code(error), ==, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    f.volumes[0].size_bytes = 128 * MIB;
    g_assert_true(volume_set_activate(&f.set, NULL) && volume_set_promote(&f.set, NULL));
    assert_grown(&f, "started");
}

/* A pool that has filled up meanwhile: the error says so and the volume stays as it was. */
static void test_grow_no_space(void)
{
    g_auto(Fixture) f = {0};
    running(&f, TRUE);
    f.world.used_permille = 950;
    f.volumes[0].size_bytes = 128 * MIB;
    GError *error = NULL;
    g_assert_false(volume_set_converge(&f.set, FALSE, &error));
    g_assert_cmpint(holdfast_error_code(error), ==, HOLDFAST_ERROR_NO_SPACE);
    g_assert_nonnull(strstr(error->message, "95.0 %"));
    g_error_free(error);
    g_assert_cmpint(fake_lv("hf-web1-0")->size, ==, 68 * MIB);
}

/* ---- refusals ---- */

static void test_replica_lost(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    GError *error = NULL;
    g_assert_false(volume_set_converge(&f.set, FALSE, &error)); /* no LV */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_false(volume_set_activate(&f.set, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(create(&f, NULL));
    fake_world_restart(&f.world, TRUE);
    fake_lv("hf-web1-1")->metadata = FALSE; /* no metadata */
    g_assert_false(volume_set_converge(&f.set, FALSE, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_false(volume_set_activate(&f.set, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_false(fake_lv("hf-web1-1")->metadata);
    g_assert_cmpuint(g_hash_table_size(f.world.lvs), ==, 2);
}

/* A node that slept through "delete web1, create web1" has the old web1's LV. */
static void test_namesake(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL));
    f.guest.uuid = "0190-bb";
    GError *error = NULL;
    g_assert_false(volume_set_converge(&f.set, TRUE, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    g_assert_true(fake_lv("hf-web1-0")->data);
}

static void test_not_connected(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    f.world.peer_there = FALSE;
    GError *error = NULL;
    g_assert_true(volume_set_converge(&f.set, TRUE, NULL));
    g_assert_false(volume_set_is_connected(&f.set));
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, NULL, &error));
    assert_code(error, HOLDFAST_ERROR_UNAVAILABLE);
    g_assert_true(fake_lv("hf-web1-0")->fresh);
}

/* One side has seen data, the other is fresh: not a first sync, and nothing to skip. */
static void test_one_side_fresh(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL));
    f.world.peer_fresh[0] = TRUE;
    GError *error = NULL;
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, NULL, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
}

static void test_image_missing_or_large(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    GError *error = NULL;
    f.volumes[0].image = "elsewhere";
    g_assert_true(volume_set_converge(&f.set, TRUE, NULL));
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, NULL, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_NOT_FOUND);
    f.volumes[0].image = "here";
    f.volumes[0].size_bytes = 512;
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, NULL, &error));
    assert_code(error, HOLDFAST_ERROR_INVALID);
    g_assert_false(fake_minor(80)->primary);
}

static void test_cancelled_fill_demotes(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    g_cancellable_cancel(cancellable);
    GError *error = NULL;
    g_assert_true(volume_set_converge(&f.set, TRUE, NULL));
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, cancellable, &error));
    assert_code(error, HOLDFAST_ERROR_CANCELLED);
    g_assert_false(fake_minor(80)->primary || fake_minor(81)->primary);
    g_assert_true(volume_set_initialise(&f.set, NULL, NULL, NULL, NULL));
    assert_created(&f.world, TRUE, "after a cancel");
}

static void on_progress(gint64 done, gint64 total, gpointer user_data)
{
    g_assert_cmpint(total, >, 0);
    *(gint64 *) user_data = done;
}

static void test_progress(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, FALSE);
    gint64 last = 0;
    g_assert_true(volume_set_converge(&f.set, TRUE, NULL));
    g_assert_true(volume_set_initialise(&f.set, on_progress, &last, NULL, NULL));
    g_assert_cmpint(last, ==, 50);
}

/* ---- role ---- */

static void test_gate_closes_before_demote(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL) && volume_set_promote(&f.set, NULL));
    g_free(fake_log_take(&f.world));
    g_assert_true(volume_set_demote(&f.set, NULL));
    g_autofree char *log = fake_log_take(&f.world);
    const char *close = strstr(log, "load hfgate-web1-1");
    const char *demote = strstr(log, "secondary 80");
    g_assert_true(close && demote && close < demote);
}

static void test_frozen(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL) && volume_set_promote(&f.set, NULL));
    FakeGate *gate = g_hash_table_lookup(f.world.gates, "hfgate-web1-0");
    gate->frozen = f.world.suspended = TRUE;
    GError *error = NULL;
    g_assert_false(volume_set_demote(&f.set, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_TIMEOUT);
    g_assert_true(strstr(gate->table, "linear") && !gate->loaded); /* as it was, for the next try */
    g_assert_true(fake_minor(80)->primary);
    gate->frozen = FALSE; /* closed now, but DRBD would wait for ever under its lock */
    g_assert_false(volume_set_demote(&f.set, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_BUSY);
    f.world.suspended = FALSE;
    g_assert_true(volume_set_demote(&f.set, NULL));
    g_assert_false(fake_minor(80)->primary);
}

static void test_promote_failure_undoes(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL));
    f.world.primary_failures = 1; /* the first try after the peer's death */
    g_assert_true(volume_set_promote(&f.set, NULL));
    g_assert_true(volume_set_demote(&f.set, NULL));
    f.world.primary_failures = 100;
    GError *error = NULL;
    g_assert_false(volume_set_promote(&f.set, &error));
    assert_code(error, HOLDFAST_ERROR_FAILED);
    g_assert_cmpint(f.world.primary_failures, ==, 97); /* three tries */
    g_autofree char *text = world_text(&f.world);
    g_assert_null(strstr(text, "primary"));
    g_assert_null(strstr(text, "linear"));
}

static void test_remove_refuses_in_use(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL) && volume_set_promote(&f.set, NULL));
    GError *error = NULL;
    g_assert_false(volume_set_remove(&f.set, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_BUSY);
    g_assert_true(volume_set_demote(&f.set, NULL));
    ((FakeGate *) g_hash_table_lookup(f.world.gates, "hfgate-web1-1"))->open_count = 1;
    g_assert_false(volume_set_remove(&f.set, &error));
    assert_code(error, HOLDFAST_ERROR_BUSY);
    g_assert_cmpuint(g_hash_table_size(f.world.gates), ==, 2);
}

static void test_status(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_autoptr(GPtrArray) statuses = g_ptr_array_new_with_free_func((GDestroyNotify) status_free);
    volume_set_status(&f.set, statuses);
    g_assert_true(create(&f, NULL));
    volume_set_status(&f.set, statuses);
    g_assert_cmpuint(statuses->len, ==, 4);
    VolumeStatus *before = statuses->pdata[0];
    VolumeStatus *after = statuses->pdata[3];
    g_assert_cmpstr(before->disk, ==, "absent");
    g_assert_cmpstr(before->gate, ==, "absent");
    g_assert_cmpint(after->index, ==, 1);
    g_assert_cmpstr(after->disk, ==, "UpToDate");
    g_assert_cmpstr(after->gate, ==, "closed");
    g_assert_cmpint(before->size_bytes, ==, 0);
    g_assert_cmpint(before->backing_bytes, ==, 0);
    g_assert_cmpint(after->size_bytes, ==, 32 * MIB);
    g_assert_cmpint(after->backing_bytes, ==, 36 * MIB);
}

static guint commands_with(const FakeWorld *w, const char *words)
{
    guint found = 0;
    for (guint i = 0; i < w->log->len; i++) {
        found += strstr(w->log->pdata[i], words) != NULL;
    }
    return found;
}

/* A disk failed here: nobody attaches it again by himself, and a Secondary does not connect. */
static void test_detached(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f, TRUE);
    g_assert_true(create(&f, NULL));
    g_clear_pointer(&fake_minor(80)->lv, g_free);
    f.world.net = FALSE;
    f.set.detached = TRUE;
    g_ptr_array_set_size(f.world.log, 0);
    GError *error = NULL;
    g_assert_false(volume_set_converge(&f.set, FALSE, &error));
    g_assert_nonnull(strstr(error->message, "holdfast guest reattach web1 --node n1"));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    error = NULL;
    g_assert_false(volume_set_activate(&f.set, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    g_assert_cmpint(f.world.log->len, ==, 0);
    /* A Primary is served by the peer's copy, so it is connected; and still nothing is attached. */
    fake_minor(80)->primary = fake_minor(81)->primary = TRUE;
    error = NULL;
    g_assert_false(volume_set_converge(&f.set, FALSE, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    g_assert_cmpint(commands_with(&f.world, " connect "), ==, 1);
    g_assert_cmpint(commands_with(&f.world, " attach "), ==, 0);
    /* Released: as ever. */
    fake_minor(80)->primary = fake_minor(81)->primary = FALSE;
    f.set.detached = FALSE;
    error = NULL;
    g_assert_true(volume_set_converge(&f.set, FALSE, &error));
    g_assert_no_error(error);
    g_assert_cmpint(commands_with(&f.world, " attach "), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/volume/create-killed-everywhere", test_create_killed_everywhere);
    g_test_add_func("/volume/run-killed-everywhere", test_run_killed_everywhere);
    g_test_add_func("/volume/remove-killed-everywhere", test_remove_killed_everywhere);
    g_test_add_func("/volume/grow-killed-everywhere", test_grow_killed_everywhere);
    g_test_add_func("/volume/grow-waits-for-the-peer", test_grow_waits_for_the_peer);
    g_test_add_func("/volume/grow-without-the-peer", test_grow_without_the_peer);
    g_test_add_func("/volume/grow-stopped", test_grow_stopped);
    g_test_add_func("/volume/grow-no-space", test_grow_no_space);
    g_test_add_func("/volume/larger-than-the-store-knows", test_larger_than_the_store_knows);
    g_test_add_func("/volume/replica-lost", test_replica_lost);
    g_test_add_func("/volume/namesake", test_namesake);
    g_test_add_func("/volume/not-connected", test_not_connected);
    g_test_add_func("/volume/one-side-fresh", test_one_side_fresh);
    g_test_add_func("/volume/image-missing-or-large", test_image_missing_or_large);
    g_test_add_func("/volume/cancelled-fill-demotes", test_cancelled_fill_demotes);
    g_test_add_func("/volume/progress", test_progress);
    g_test_add_func("/volume/gate-closes-before-demote", test_gate_closes_before_demote);
    g_test_add_func("/volume/frozen", test_frozen);
    g_test_add_func("/volume/promote-failure-undoes", test_promote_failure_undoes);
    g_test_add_func("/volume/remove-refuses-in-use", test_remove_refuses_in_use);
    g_test_add_func("/volume/detached", test_detached);
    g_test_add_func("/volume/status", test_status);
    return g_test_run();
}
