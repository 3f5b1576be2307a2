/* SPDX-License-Identifier: Apache-2.0
 * A replica that takes another's place is built from nothing, whatever is here already and wherever it is killed; one
 * that was given up goes only when nobody is connected to it, and takes nobody else's volumes along. */
#include "storage/volume.h"
#include "tests/unit/storage/fake_runner.h"

#define MIB ((gint64) 1024 * 1024)

static char *nodes[] = {"n1", "n3", NULL};

typedef struct {
    FakeWorld world;
    Guest guest;
    Volume volumes[2];
    GPtrArray *list;
    VolumeSet set;
} Fixture;

/* This is n3, where the new replica is built; n1 is the running Primary. */
static void fixture_start(Fixture *f)
{
    fake_world_start(&f->world);
    f->world.pv_vg = g_strdup("holdfast");
    f->world.vg = f->world.pool = f->world.pool_errors_when_full = TRUE;
    f->world.peer_role = "Primary";
    memset(f->world.peer_fresh, 0, sizeof(f->world.peer_fresh)); /* it has data */
    f->guest = (Guest){.name = "web1",
                       .uuid = "0190-aa",
                       .slot = 5,
                       .nodes = nodes,
                       .drbd_secret = "0ther",
                       .joining = (char *) "n3",
                       .joining_id = (char *) "b1"};
    f->list = g_ptr_array_new();
    for (int i = 0; i < 2; i++) {
        f->volumes[i] = (Volume){.guest = "web1", .index = i, .size_bytes = 64 * MIB};
        g_ptr_array_add(f->list, &f->volumes[i]);
    }
    f->set = (VolumeSet){.runner = &f->world.runner,
                         .guest = &f->guest,
                         .volumes = f->list,
                         .node = "n3",
                         .address = "10.0.0.3",
                         .peer_address = "10.0.0.1"};
}

static void fixture_clear(Fixture *f)
{
    g_ptr_array_unref(f->list);
    fake_world_clear(&f->world);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static FakeLv *put_lv(Fixture *f, const char *name, const char *tags)
{
    FakeLv *lv = g_new0(FakeLv, 1);
    lv->size = 68 * MIB;
    lv->tag = g_strdup(tags);
    lv->active = lv->metadata = lv->al_clean = TRUE;
    g_hash_table_insert(f->world.lvs, g_strdup(name), lv);
    return lv;
}

/* What an earlier replica of this guest left here: old data generations, and DRBD is up with another peer. */
static void leave_old_replica(Fixture *f, gboolean drbd_up)
{
    Guest before = f->guest;
    VolumeSet set = f->set;
    before.joining = before.joining_id = NULL;
    before.drbd_secret = "5ec7e7";
    set.guest = &before;
    put_lv(f, "hf-web1-0", "hf-uuid-0190-aa");
    put_lv(f, "hf-web1-1", "hf-uuid-0190-aa");
    g_assert_true(!drbd_up || volume_set_activate(&set, NULL));
    f->world.commands = 0;
    g_free(fake_log_take(&f->world));
}

static gboolean join(const Fixture *f, GError **error)
{
    gboolean empty;
    return volume_set_clear_for_join(&f->set, &empty, error) && volume_set_converge(&f->set, TRUE, error);
}

static void assert_joined(const Fixture *f, const char *when)
{
    static const char *const lvs[] = {"hf-web1-0", "hf-web1-1"};
    gboolean well = !f->world.violation && f->world.net && g_strcmp0(f->world.secret, "0ther") == 0;
    for (int i = 0; i < 2; i++) {
        const FakeLv *lv = fake_lv(lvs[i]);
        well = well && lv && lv->fresh && lv->metadata && g_strcmp0(lv->tag, "hf-uuid-0190-aa,hf-join-b1") == 0;
    }
    if (!well) {
        g_error("%s: violation %s", when, f->world.violation ? f->world.violation : "none");
    }
}

static void join_killed_at(int step, int mode, gboolean *ret_died)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f);
    if (mode & 4) {
        leave_old_replica(&f, mode & 8);
    }
    f.world.kill_at = step;
    f.world.kill = mode & 1 ? KILL_BEFORE : KILL_AFTER;
    g_autofree char *when = g_strdup_printf("mode %d, killed at step %d", mode, step);
    join(&f, NULL);
    *ret_died = f.world.dead;
    fake_world_restart(&f.world, mode & 2);
    GError *error = NULL;
    if (!join(&f, &error)) {
        g_error("%s: the next run fails: %s", when, error->message);
    }
    assert_joined(&f, when);
    /* The one thing that must not happen: taken for a pair that is equal because both are new. */
    g_autofree char *log = fake_log_take(&f.world);
    g_assert_null(strstr(log, "new-current-uuid"));
    g_assert_null(strstr(log, "--force"));
    g_assert_null(strstr(log, " primary "));
}

static void test_join_killed_everywhere(void)
{
    for (int mode = 0; mode < 16; mode++) {
        gboolean died = TRUE;
        int step = 0;
        while (died) {
            join_killed_at(++step, mode, &died);
        }
        g_assert_cmpint(step, >, 12);
    }
}

/* Once built it stays what it is, through restarts; another build begins anew. */
static void test_join_again(void)
{
    g_auto(Fixture) f = {0};
    gboolean empty = FALSE;
    fixture_start(&f);
    g_assert_true(volume_set_clear_for_join(&f.set, &empty, NULL));
    g_assert_true(empty && volume_set_converge(&f.set, TRUE, NULL));
    fake_lv("hf-web1-0")->fresh = fake_lv("hf-web1-1")->fresh = FALSE; /* the copying has begun */
    fake_world_restart(&f.world, TRUE);
    g_assert_true(volume_set_clear_for_join(&f.set, &empty, NULL));
    g_assert_true(!empty && volume_set_converge(&f.set, TRUE, NULL));
    g_assert_false(fake_lv("hf-web1-0")->fresh || fake_lv("hf-web1-1")->fresh);
    f.guest.joining_id = (char *) "b2";
    g_assert_true(volume_set_clear_for_join(&f.set, &empty, NULL));
    g_assert_true(empty);
    g_assert_cmpuint(g_hash_table_size(f.world.lvs), ==, 0);
}

/* A fresh replica beside one with data is copied to; nobody skips that, and nobody promotes it. */
static void test_never_initialised(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;
    fixture_start(&f);
    g_assert_true(join(&f, NULL));
    g_assert_false(volume_set_initialise(&f.set, NULL, NULL, NULL, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_false(volume_set_promote(&f.set, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_true(fake_lv("hf-web1-0")->fresh && !fake_minor(80)->primary);
}

static void test_join_refused(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;
    gboolean empty;
    fixture_start(&f);
    put_lv(&f, "hf-web1-1", "hf-uuid-0190-bb")->data = TRUE; /* a namesake's */
    g_assert_false(volume_set_clear_for_join(&f.set, &empty, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_nonnull(fake_lv("hf-web1-1"));
    /* Nobody asked this node to build one. */
    f.guest.joining = (char *) "n4";
    g_assert_false(volume_set_clear_for_join(&f.set, &empty, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_cmpstr(f.world.violation, ==, NULL);
}

/* ---- given up ---- */

static void test_retire(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;
    fixture_start(&f);
    leave_old_replica(&f, TRUE);
    g_assert_false(volume_set_retire(&f.set, &error)); /* somebody may depend on it */
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY);
    g_clear_error(&error);
    g_assert_true(f.world.resource);
    f.world.peer_there = FALSE;
    g_assert_true(volume_set_retire(&f.set, NULL) && volume_set_retire(&f.set, NULL));
    g_assert_false(f.world.resource);
    g_assert_cmpuint(g_hash_table_size(f.world.lvs), ==, 2);
}

static void test_remove_own_killed_everywhere(void)
{
    for (int mode = 0; mode < 4; mode++) {
        gboolean died = TRUE;
        for (int step = 1; died; step++) {
            g_auto(Fixture) f = {0};
            fixture_start(&f);
            leave_old_replica(&f, TRUE);
            f.world.peer_there = FALSE;
            f.world.kill_at = step;
            f.world.kill = mode & 1 ? KILL_BEFORE : KILL_AFTER;
            gboolean done = volume_set_retire(&f.set, NULL) && volume_set_remove_own(&f.set, NULL);
            died = f.world.dead;
            g_assert_true(done == !died);
            fake_world_restart(&f.world, mode & 2);
            g_assert_true(volume_set_retire(&f.set, NULL) && volume_set_remove_own(&f.set, NULL));
            g_assert_cmpuint(g_hash_table_size(f.world.lvs), ==, 0);
            g_assert_false(f.world.resource);
        }
    }
}

static void test_remove_own_refused(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;
    fixture_start(&f);
    put_lv(&f, "hf-web1-0", "hf-uuid-0190-aa");
    put_lv(&f, "hf-web1-1", "hf-uuid-0190-bb")->data = TRUE;
    g_assert_false(volume_set_remove_own(&f.set, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    g_clear_error(&error);
    g_assert_cmpuint(g_hash_table_size(f.world.lvs), ==, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/volume-join/killed-everywhere", test_join_killed_everywhere);
    g_test_add_func("/volume-join/again", test_join_again);
    g_test_add_func("/volume-join/never-initialised", test_never_initialised);
    g_test_add_func("/volume-join/refused", test_join_refused);
    g_test_add_func("/volume-join/retire", test_retire);
    g_test_add_func("/volume-join/remove-own-killed-everywhere", test_remove_own_killed_everywhere);
    g_test_add_func("/volume-join/remove-own-refused", test_remove_own_refused);
    return g_test_run();
}
