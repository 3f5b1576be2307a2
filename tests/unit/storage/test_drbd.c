/* SPDX-License-Identifier: Apache-2.0
 * DRBD commands: exactly these, in this order, and none where the state is right already. */
#include "tests/unit/storage/fake_runner.h"

#define LV "/dev/holdfast/hf-web1-0"

static char *nodes[] = {"n1", "n2", NULL};
static const Guest guest = {.name = "web1", .uuid = "u", .slot = 5, .nodes = nodes, .drbd_secret = "5ec7e7"};

static DrbdResource resource(const FakeWorld *w, const char *peer)
{
    return (DrbdResource){.runner = &w->runner,
                          .guest = &guest,
                          .n_volumes = 1,
                          .node = "n1",
                          .peer = peer,
                          .address = "10.0.0.1",
                          .peer_address = "10.0.0.2"};
}

static void lv_add(FakeWorld *w)
{
    FakeLv *lv = g_new0(FakeLv, 1);
    lv->size = 68 * 1024 * 1024;
    lv->active = TRUE;
    g_hash_table_insert(w->lvs, g_strdup("hf-web1-0"), lv);
}

static void assert_log(FakeWorld *w, const char *wanted)
{
    g_autofree char *log = fake_log_take(w);
    g_assert_cmpstr(log, ==, wanted);
}

static void assert_code(GError *error, int code)
{
    g_assert_error(error, HOLDFAST_ERROR, code);
    g_error_free(error);
}

static void test_golden(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, "n2");
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL));
    assert_log(&w, "/sbin/drbdmeta 80 v08 " LV " internal apply-al\n"
                   "/sbin/drbdmeta 80 v08 " LV " internal create-md");
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL));
    assert_log(&w, "/sbin/drbdmeta 80 v08 " LV " internal apply-al");
    g_assert_true(drbd_attach(&r, 0, LV, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1\n"
                   "/lib/drbd/drbdsetup-84 new-resource hf-web1 --on-no-data-accessible=suspend-io\n"
                   "/lib/drbd/drbdsetup-84 new-minor hf-web1 80 0\n"
                   "/sbin/drbdmeta 80 v08 " LV " internal check-resize\n"
                   "/sbin/drbdmeta 80 v08 " LV " internal apply-al\n"
                   "/lib/drbd/drbdsetup-84 attach 80 " LV " " LV " internal --on-io-error=call-local-io-error "
                   "--fencing=resource-and-stonith --al-updates=yes --discard-zeroes-if-aligned=yes "
                   "--rs-discard-granularity=65536 --c-plan-ahead=20 --c-fill-target=2048 --c-max-rate=204800 "
                   "--c-min-rate=10240\n"
                   "/lib/drbd/drbdsetup-84 check-resize 80");
    g_assert_true(drbd_attach(&r, 0, LV, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1");
    g_assert_true(drbd_connect(&r, NULL));
    assert_log(
        &w, "/lib/drbd/drbdsetup-84 show hf-web1\n"
            "/lib/drbd/drbdsetup-84 connect hf-web1 ipv4:10.0.0.1:7805 ipv4:10.0.0.2:7805 --protocol=C --timeout=15 "
            "--connect-int=3 --ping-int=2 --ping-timeout=5 --ko-count=3 --cram-hmac-alg=sha256 --shared-secret=5ec7e7 "
            "--after-sb-0pri=disconnect --after-sb-1pri=disconnect --after-sb-2pri=disconnect "
            "--rr-conflict=disconnect --verify-alg=crc32c");
    g_assert_true(drbd_connect(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1");
    g_assert_true(drbd_skip_initial_sync(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 new-current-uuid 80 --clear-bitmap=yes");
    g_assert_true(drbd_skip_initial_sync(&r, NULL));
    assert_log(&w, "");
    g_assert_true(drbd_verify_begin(&r, 0, 4096, 8192, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 verify 80 --start=8 --stop=16");
    g_assert_true(drbd_promote(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1\n/lib/drbd/drbdsetup-84 primary 80");
    g_assert_true(drbd_demote(&r, NULL) && drbd_demote(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 secondary 80");
    g_assert_true(drbd_disconnect(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1\n"
                   "/lib/drbd/drbdsetup-84 disconnect ipv4:10.0.0.1:7805 ipv4:10.0.0.2:7805");
    g_assert_true(drbd_must_be_apart(&r, NULL));
    g_assert_true(drbd_outdate(&r, FALSE, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 outdate 80");
    g_assert_true(drbd_down(&r, NULL) && drbd_down(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1\n"
                   "/lib/drbd/drbdsetup-84 down hf-web1\n"
                   "/lib/drbd/drbdsetup-84 show hf-web1");
    /* A volume that is absent is outdated only when a note keeps this copy from starting. */
    GError *error = NULL;
    g_assert_false(drbd_outdate(&r, FALSE, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_outdate(&r, TRUE, NULL));
    assert_log(&w, "");
    g_assert_cmpstr(w.violation, ==, NULL);
}

/* A disk that hangs: the connection is cut, but never under a Primary; what is connected is not apart. */
static void test_cut(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, "n2");
    GError *error = NULL;
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL) && drbd_connect(&r, NULL) &&
                  drbd_skip_initial_sync(&r, NULL));
    g_assert_false(drbd_must_be_apart(&r, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_promote(&r, NULL));
    g_free(fake_log_take(&w));
    g_assert_false(drbd_disconnect_force(&r, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    assert_log(&w, "");
    g_assert_true(drbd_demote(&r, NULL));
    g_free(fake_log_take(&w));
    /* drbdsetup waits for the disk and is killed: the cut has begun all the same */
    w.kill_at = w.commands + 1;
    w.kill = KILL_AFTER;
    g_assert_true(drbd_disconnect_force(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 disconnect --force=yes ipv4:10.0.0.1:7805 ipv4:10.0.0.2:7805");
    fake_world_restart(&w, FALSE);
    g_assert_true(drbd_must_be_apart(&r, NULL));
}

/* A stale copy that stands alone is made the current one; one that was given up is filled from the other. */
static void test_choice_between_copies(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, "n2");
    GError *error = NULL;
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL) && drbd_connect(&r, NULL));
    g_assert_false(drbd_force_stale(&r, &error)); /* connected, and without any data yet */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_skip_initial_sync(&r, NULL));
    g_assert_false(drbd_invalidate(&r, &error)); /* connected */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_disconnect(&r, NULL) && drbd_outdate(&r, FALSE, NULL));
    g_free(fake_log_take(&w));
    g_assert_false(drbd_promote(&r, &error));
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_free(fake_log_take(&w));

    g_assert_true(drbd_force_stale(&r, NULL) && drbd_force_stale(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 primary 80 --force=yes\n/lib/drbd/drbdsetup-84 secondary 80\n"
                   "/lib/drbd/drbdsetup-84 get-gi 80");
    g_assert_true(drbd_promote(&r, NULL));
    g_assert_false(drbd_invalidate(&r, &error)); /* Primary */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_demote(&r, NULL));
    g_free(fake_log_take(&w));
    g_assert_true(drbd_invalidate(&r, NULL) && drbd_invalidate(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 invalidate 80");
    g_assert_false(drbd_force_stale(&r, &error)); /* nothing usable is left in it */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
}

/* Killed between the two commands of a force: the next one ends it. */
static void test_force_killed_half_way(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, "n2");
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL) && drbd_connect(&r, NULL) &&
                  drbd_skip_initial_sync(&r, NULL) && drbd_disconnect(&r, NULL) && drbd_outdate(&r, FALSE, NULL));
    w.kill_at = w.commands + 1;
    w.kill = KILL_AFTER;
    g_assert_false(drbd_force_stale(&r, NULL));
    w.dead = FALSE;
    w.kill = KILL_NEVER;
    g_free(fake_log_take(&w));
    g_assert_true(drbd_force_stale(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 secondary 80");
}

static void test_single_replica(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, NULL);
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL));
    g_autofree char *log = fake_log_take(&w);
    g_assert_nonnull(strstr(log, "--fencing=dont-care"));
    g_assert_true(drbd_connect(&r, NULL)); /* nobody to connect to */
    assert_log(&w, "");
    g_assert_true(drbd_force_initial(&r, NULL) && drbd_force_initial(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 primary 80 --force=yes\n/lib/drbd/drbdsetup-84 secondary 80");
    DrbdResource paired = resource(&w, "n2");
    GError *error = NULL;
    g_assert_false(drbd_force_initial(&paired, &error)); /* force and two replicas never meet */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_false(drbd_promote(&paired, &error)); /* nor do dont-care and two replicas */
    assert_code(error, HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_promote(&r, NULL));
}

/* Only "there is none" is none. A busy LV, a dead disk, a changed message: an error, and nothing is written. */
static void test_metadata_unreadable(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    fake_lv("hf-web1-0")->active = FALSE;
    DrbdResource r = resource(&w, "n2");
    GError *error = NULL;
    g_assert_false(drbd_metadata_create(&r, 0, LV, &error));
    assert_code(error, HOLDFAST_ERROR_FAILED);
    assert_log(&w, "/sbin/drbdmeta 80 v08 " LV " internal apply-al");
}

static void test_refusals(void)
{
    g_auto(FakeWorld) w = {0};
    fake_world_start(&w);
    lv_add(&w);
    DrbdResource r = resource(&w, "n2");
    GError *error = NULL;
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL) && drbd_connect(&r, NULL));
    g_assert_false(drbd_promote(&r, &error)); /* Inconsistent */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_skip_initial_sync(&r, NULL));
    g_assert_false(drbd_outdate(&r, FALSE, &error)); /* connected */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    g_assert_true(drbd_promote(&r, NULL));
    g_assert_false(drbd_down(&r, &error)); /* Primary */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    w.peer_there = FALSE;
    g_assert_false(drbd_outdate(&r, FALSE, &error)); /* Primary */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_REFUSED);
    w.suspended = TRUE;
    g_assert_false(drbd_demote(&r, &error)); /* frozen */
    assert_code(g_steal_pointer(&error), HOLDFAST_ERROR_BUSY);
    w.suspended = FALSE;
    g_assert_true(drbd_demote(&r, NULL) && drbd_outdate(&r, FALSE, NULL));
    /* Another guest of this name, from before: other minors. */
    Guest namesake = guest;
    namesake.slot = 6;
    DrbdResource other = r;
    other.guest = &namesake;
    g_assert_false(drbd_attach(&other, 0, LV, &error));
    assert_code(error, HOLDFAST_ERROR_REFUSED);
}

/* ---- another peer ---- */

static void set_up_with_n2(FakeWorld *w)
{
    fake_world_start(w);
    lv_add(w);
    DrbdResource r = resource(w, "n2");
    g_assert_true(drbd_metadata_create(&r, 0, LV, NULL) && drbd_attach(&r, 0, LV, NULL) && drbd_connect(&r, NULL) &&
                  drbd_skip_initial_sync(&r, NULL) && drbd_promote(&r, NULL));
    g_free(fake_log_take(w));
}

/* As the guest's document is after a replacement: n3 in the place of n2, with another secret. */
static char *next_nodes[] = {"n1", "n3", NULL};
static const Guest next = {.name = "web1",
                           .uuid = "u",
                           .slot = 5,
                           .nodes = next_nodes,
                           .drbd_secret = "0ther",
                           .joining = (char *) "n3",
                           .joining_id = (char *) "j"};

static DrbdResource next_resource(const FakeWorld *w)
{
    DrbdResource r = resource(w, "n3");
    r.guest = &next;
    r.peer_address = "10.0.0.3";
    return r;
}

#define SHOW "/lib/drbd/drbdsetup-84 show hf-web1\n"
#define PART "/lib/drbd/drbdsetup-84 disconnect ipv4:10.0.0.1:7805 ipv4:10.0.0.2:7805\n"
#define JOIN                                                                                                           \
    "/lib/drbd/drbdsetup-84 connect hf-web1 ipv4:10.0.0.1:7805 ipv4:10.0.0.3:7805 --protocol=C --timeout=15 "          \
    "--connect-int=3 --ping-int=2 --ping-timeout=5 --ko-count=3 --cram-hmac-alg=sha256 --shared-secret=0ther "         \
    "--after-sb-0pri=disconnect --after-sb-1pri=disconnect --after-sb-2pri=disconnect --rr-conflict=disconnect "       \
    "--verify-alg=crc32c"

static gboolean is_other(const DrbdResource *r)
{
    gboolean other = FALSE;
    g_assert_true(drbd_peer_is_other(r, &other, NULL));
    return other;
}

static void test_new_peer(void)
{
    g_auto(FakeWorld) w = {0};
    set_up_with_n2(&w);
    w.peer_there = FALSE;
    DrbdResource r = next_resource(&w);
    g_assert_true(is_other(&r));
    g_free(fake_log_take(&w));
    g_assert_true(drbd_connect(&r, NULL));
    assert_log(&w, SHOW PART SHOW JOIN);
    g_assert_false(is_other(&r));
    g_free(fake_log_take(&w));
    g_assert_true(drbd_connect(&r, NULL));
    assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1");
    /* The same node with another secret is another replica all the same. */
    Guest again = next;
    again.drbd_secret = (char *) "third";
    r.guest = &again;
    g_assert_true(is_other(&r));
}

static void test_new_peer_killed_everywhere(void)
{
    for (int step = 1; step <= 4; step++) {
        for (int kill = KILL_BEFORE; kill <= KILL_AFTER; kill++) {
            g_auto(FakeWorld) w = {0};
            set_up_with_n2(&w);
            DrbdResource r = next_resource(&w);
            w.commands = 0;
            w.kill_at = step;
            w.kill = (FakeKill) kill;
            g_assert_false(drbd_connect(&r, NULL));
            g_assert_true(w.dead);
            fake_world_restart(&w, FALSE);
            g_assert_true(drbd_connect(&r, NULL));
            g_assert_cmpstr(w.remote, ==, "ipv4:10.0.0.3:7805");
            g_assert_cmpstr(w.secret, ==, "0ther");
            g_assert_true(w.net && fake_minor(80)->primary);
        }
    }
}

/* The old peer is kept while anything hangs on it, and always when no new replica is being built. */
static void test_new_peer_refused(void)
{
    for (int i = 0; i < 4; i++) {
        g_auto(FakeWorld) w = {0};
        set_up_with_n2(&w);
        DrbdResource r = next_resource(&w);
        Guest restored = next;
        restored.joining = NULL;
        w.suspended = i == 0;
        fake_lv("hf-web1-0")->fresh = i == 1; /* Inconsistent */
        w.peer_role = i == 2 ? "Primary" : NULL;
        r.guest = i == 3 ? &restored : &next;
        GError *error = NULL;
        g_assert_false(drbd_connect(&r, &error));
        assert_code(error, i == 3 ? HOLDFAST_ERROR_REFUSED : HOLDFAST_ERROR_BUSY);
        assert_log(&w, "/lib/drbd/drbdsetup-84 show hf-web1");
        g_assert_cmpstr(w.remote, ==, "ipv4:10.0.0.2:7805");
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drbd/golden", test_golden);
    g_test_add_func("/drbd/cut", test_cut);
    g_test_add_func("/drbd/single-replica", test_single_replica);
    g_test_add_func("/drbd/choice-between-copies", test_choice_between_copies);
    g_test_add_func("/drbd/force-killed-half-way", test_force_killed_half_way);
    g_test_add_func("/drbd/metadata-unreadable", test_metadata_unreadable);
    g_test_add_func("/drbd/refusals", test_refusals);
    g_test_add_func("/drbd/new-peer", test_new_peer);
    g_test_add_func("/drbd/new-peer-killed-everywhere", test_new_peer_killed_everywhere);
    g_test_add_func("/drbd/new-peer-refused", test_new_peer_refused);
    return g_test_run();
}
