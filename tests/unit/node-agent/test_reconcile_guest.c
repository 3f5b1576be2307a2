/* SPDX-License-Identifier: Apache-2.0
 * One guest on this node through a replacement of its replica, in each of the three parts: the node that keeps its
 * copy, the one that builds, the one that was given up. A real etcd, a fake DRBD, and this machine's folders hidden
 * under empty ones of a mount namespace of our own, for which one must be root. */
#include "node-agent/reconcile.h"
#include "node-agent/replica_replace.h"

#include "cluster/manifest.h"
#include "common/error.h"
#include "common/ident.h"
#include "storage/record.h"
#include "tests/unit/node-agent/daemon_fixture.h"
#include "tests/unit/storage/fake_runner.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>

#define MIB ((gint64) 1024 * 1024)
#define KEY "guest/web1"

typedef struct {
    Fixture base; /* first: the fixture's functions take it */
    FakeWorld world;
    const char *self;
} Live;

static void put_node(Live *live, const char *name, gint64 id)
{
    g_autoptr(Node) node = object_new(&node_type);
    g_autofree char *key = g_strconcat("node/", name, NULL);
    node->name = g_strdup(name);
    node->ring0 = g_strdup_printf("10.0.0.%d", (int) id);
    node->id = id;
    fixture_put(&live->base, key, &node_type, node);
}

static void put_guest(Live *live, const char *first, const char *second, const char *joining)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    const char *nodes[] = {first, second, NULL};
    GuestVolumeSpec *volume = g_new0(GuestVolumeSpec, 1);
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->slot = 5;
    guest->nodes = g_strdupv((char **) nodes);
    guest->drbd_secret = g_strdup(joining ? "0ther" : "5ec7e7");
    guest->joining = g_strdup(joining);
    guest->joining_id = g_strdup(joining ? "j1" : NULL);
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 64;
    guest->spec.replicas = 2;
    volume->size_mib = 64;
    g_ptr_array_add(guest->spec.volumes, volume);
    fixture_put(&live->base, KEY, &guest_type, guest);
}

static void put_record(Live *live, const char *owner, const char *second)
{
    Record record = {.generation = 7, .state = RECORD_RUNNING};
    gboolean here = g_str_equal(owner, live->self);
    g_strlcpy(record.owner, owner, RECORD_NAME_MAX);
    g_strlcpy(record.owner_boot_id, here ? ident_boot_id() : "b1", RECORD_NAME_MAX);
    g_strlcpy(record.in_sync[0], owner, RECORD_NAME_MAX);
    g_strlcpy(record.in_sync[1], second ? second : "", RECORD_NAME_MAX);
    char *text = record_encode(&record);
    put(live->base.daemon.store, STORE_ROOT "record/web1", text);
    free(text);
}

static void put_ready(Live *live, const char *node)
{
    g_autoptr(GuestStatus) status = object_new(&guest_status_type);
    g_autofree char *key = g_strdup_printf("status/%s/guest/web1", node);
    status->node = g_strdup(node);
    status->guest = g_strdup("web1");
    status->ready = TRUE;
    fixture_put(&live->base, key, &guest_status_type, status);
}

/* "n1 n3" */
static void assert_in_sync(Live *live, const char *first, const char *second)
{
    Record record;
    g_assert_true(record_read(live->base.daemon.store, "web1", &record, NULL, NULL));
    g_assert_true(record_is_in_sync(&record, first));
    g_assert_cmpstr(record.in_sync[1], ==, second ? second : "");
}

static void run_round(Live *live)
{
    fixture_catch_up(&live->base);
    reconcile_guest(KEY, &live->base.daemon);
    g_assert_cmpstr(live->world.violation, ==, NULL);
}

static FakeLv *put_lv(Live *live, const char *tags)
{
    FakeLv *lv = g_new0(FakeLv, 1);
    lv->size = 68 * MIB;
    lv->agreed = 64 * MIB;
    lv->tag = g_strdup(tags);
    lv->active = lv->metadata = lv->al_clean = TRUE;
    g_hash_table_insert(live->world.lvs, g_strdup("hf-web1-0"), lv);
    return lv;
}

static void settled_free(gpointer data)
{
    GuestSettled *settled = data;
    g_free(settled->text);
    g_free(settled);
}

static void live_set_up(Live *live, gconstpointer data)
{
    Daemon *daemon = &live->base.daemon;
    fixture_set_up(&live->base, data);
    live->self = ident_node_name();
    live->base.config.node = (char *) live->self;
    daemon->published = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->settled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, settled_free);
    daemon->leave_looked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->resyncs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 3}};
    fake_world_start(&live->world);
    live->world.pv_vg = g_strdup("holdfast");
    live->world.vg = live->world.pool = live->world.pool_errors_when_full = TRUE;
    memset(live->world.peer_fresh, 0, sizeof(live->world.peer_fresh));
    daemon->runner = &live->world.runner;
    fixture_load(&live->base);
    g_assert_true(daemon_lease_keep(daemon, NULL));
    g_autoptr(Volume) volume = object_new(&volume_type);
    volume->guest = g_strdup("web1");
    volume->size_bytes = 64 * MIB;
    fixture_put(&live->base, "volume/web1-0", &volume_type, volume);
    put_node(live, live->self, 1);
    put_node(live, "n2", 2);
    put_node(live, "n3", 3);
}

static void live_tear_down(Live *live, gconstpointer data)
{
    Daemon *daemon = &live->base.daemon;
    manifest_remove("web1", NULL);
    g_hash_table_unref(daemon->settled);
    g_hash_table_unref(daemon->published);
    g_hash_table_unref(daemon->leave_looked);
    g_hash_table_unref(daemon->resyncs);
    fixture_tear_down(&live->base, data);
    fake_world_clear(&live->world);
}

/* The guest runs here, its other replica is on n2. */
static void set_up_keeper(Live *live, gboolean n2_there)
{
    put_guest(live, live->self, "n2", NULL);
    put_record(live, live->self, n2_there ? "n2" : NULL);
    put_lv(live, "hf-uuid-u");
    live->world.peer_there = n2_there;
    run_round(live);
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.2:7805");
    fake_minor(80)->primary = TRUE;
}

static void replace(Live *live, gboolean unprotected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Manifest) manifest = manifest_read("web1", &error);
    g_autoptr(json_t) arguments =
        json_pack("{s:s,s:s,s:s,s:b}", "guest", "web1", "from", "n2", "to", "n3", "unprotected", unprotected);
    fixture_catch_up(&live->base);
    g_autoptr(json_t) operation = replica_replace_here(&live->base.daemon, manifest, arguments, &error);
    g_assert_no_error(error);
    g_assert_nonnull(operation);
}

/* n2 is gone. The new one enters the record when it is complete, reports so, and not before. */
static void test_keeper(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    set_up_keeper(live, FALSE);
    replace(live, FALSE);
    run_round(live);
    g_autoptr(Guest) guest = fixture_get(&live->base, KEY, &guest_type);
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.3:7805");
    g_assert_cmpstr(live->world.secret, ==, guest->drbd_secret);
    g_autoptr(Manifest) manifest = manifest_read("web1", NULL);
    g_assert_cmpstr(manifest->peer_node, ==, "n3");
    g_assert_cmpint(manifest->peer_id, ==, 3);
    live->world.peer_there = live->world.resyncing[0] = TRUE;
    put_ready(live, "n3");
    run_round(live);
    assert_in_sync(live, live->self, NULL);
    live->world.resyncing[0] = FALSE;
    run_round(live);
    assert_in_sync(live, live->self, "n3");
    g_autoptr(Guest) whole = fixture_get(&live->base, KEY, &guest_type);
    g_assert_null(whole->joining);
    run_round(live); /* and so it stays */
    assert_in_sync(live, live->self, "n3");
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.3:7805");
    g_assert_true(fake_minor(80)->primary);
}

/* n2 is there, connected and UpToDate, while the guest's document names n3 already, which reports itself ready: what
 * DRBD says is about n2, and nothing of it is recorded. */
static void test_keeper_still_connected_to_the_old_one(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    live->base.daemon.view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 3, .nodes = {1, 2, 3}};
    set_up_keeper(live, TRUE);
    put_ready(live, "n3");
    replace(live, TRUE);
    assert_in_sync(live, live->self, NULL);
    live->world.kill = KILL_BEFORE; /* this holdfastd dies before it parts from n2 */
    live->world.kill_at = live->world.commands + 2;
    run_round(live);
    g_assert_true(live->world.dead);
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.2:7805");
    assert_in_sync(live, live->self, NULL);
    fake_world_restart(&live->world, FALSE);
    run_round(live);
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.3:7805");
    assert_in_sync(live, live->self, NULL);
}

/* The disk here fails just then: n2's copy serves the guest, and the record must not name n3's empty one for it. */
static void test_keeper_loses_its_disk_before_it_parts(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    live->base.daemon.view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 3, .nodes = {1, 2, 3}};
    set_up_keeper(live, TRUE);
    replace(live, TRUE);
    g_clear_pointer(&fake_minor(80)->lv, g_free); /* Diskless, Connected, peer UpToDate */
    live->world.kill = KILL_AFTER;
    live->world.kill_at = live->world.commands + 1; /* before it could be attached again */
    run_round(live);
    g_assert_true(live->world.dead);
    assert_in_sync(live, live->self, NULL);
    g_assert_true(live->world.net);
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.2:7805");
}

/* A store that was restored to before a replacement says n2 again, and nobody builds one there: n3 stays. */
static void test_keeper_of_a_restored_store(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    put_guest(live, live->self, "n3", NULL);
    put_record(live, live->self, "n3");
    put_lv(live, "hf-uuid-u");
    run_round(live);
    fake_minor(80)->primary = TRUE;
    put_guest(live, live->self, "n2", NULL);
    put_record(live, live->self, "n2");
    put_ready(live, "n2");
    g_hash_table_remove_all(live->base.daemon.settled);
    run_round(live);
    g_autoptr(Manifest) manifest = manifest_read("web1", NULL);
    g_assert_cmpstr(manifest->peer_node, ==, "n3");
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.3:7805");
    fixture_catch_up(&live->base);
    g_autofree char *key = g_strdup_printf("status/%s/guest/web1", live->self);
    g_autoptr(GuestStatus) status = fixture_get(&live->base, key, &guest_status_type);
    g_assert_false(status->ready);
    g_assert_nonnull(strstr(status->condition, "'holdfast guest replace-replica web1 --from n2'"));
}

/* This is the node where it is built: from nothing, whatever is here. */
static void test_joining(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    put_lv(live, "hf-uuid-u"); /* of an earlier time */
    put_guest(live, "n2", live->self, live->self);
    put_record(live, "n2", NULL);
    live->world.peer_role = "Primary";
    run_round(live);
    const FakeLv *lv = fake_lv("hf-web1-0");
    g_assert_true(lv && lv->fresh && lv->metadata);
    g_assert_cmpstr(lv->tag, ==, "hf-uuid-u,hf-join-j1");
    g_assert_cmpstr(live->world.remote, ==, "ipv4:10.0.0.2:7805");
    g_assert_cmpstr(live->world.secret, ==, "0ther");
    g_autofree char *key = g_strdup_printf("status/%s/guest/web1", live->self);
    g_autoptr(GuestStatus) status = fixture_get(&live->base, key, &guest_status_type);
    g_assert_true(status->ready);
    g_autofree char *log = fake_log_take(&live->world);
    g_assert_null(strstr(log, "new-current-uuid"));
    g_assert_null(strstr(log, " primary "));
    assert_in_sync(live, "n2", NULL);
}

/* This is the node whose replica was given up, back with DRBD up from its old manifest. */
static void set_up_leaver(Live *live)
{
    put_guest(live, "n2", live->self, NULL);
    put_record(live, "n2", NULL);
    put_lv(live, "hf-uuid-u");
    live->world.peer_there = FALSE;
    run_round(live);
    g_assert_true(live->world.resource && live->world.net);
    g_hash_table_remove_all(live->base.daemon.settled);
}

static void test_leaving(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/web1", live->self);
    set_up_leaver(live);
    put_guest(live, "n2", "n3", "n3");
    put_record(live, "n2", NULL);
    live->world.peer_there = TRUE; /* somebody is connected to it */
    run_round(live);
    g_assert_true(live->world.resource);
    live->world.peer_there = FALSE;
    run_round(live);
    g_assert_false(live->world.resource);
    g_assert_nonnull(fake_lv("hf-web1-0")); /* the new one is not complete */
    g_autoptr(GuestStatus) status = fixture_get(&live->base, key, &guest_status_type);
    g_assert_false(status->ready);
    g_assert_nonnull(strstr(status->condition, "kept until the other two are in sync"));
    put_guest(live, "n2", "n3", NULL);
    put_record(live, "n2", "n3");
    run_round(live);
    g_assert_null(fake_lv("hf-web1-0"));
    g_assert_null(manifest_read("web1", NULL));
    g_autofree char *full = g_strconcat(STORE_ROOT, key, NULL);
    g_assert_null(store_get(live->base.daemon.store, full, NULL, NULL));
}

/* The guest was deleted while this node was away: its volumes are nobody's, and its numbers another's. */
static void test_leaving_a_deleted_guest(Live *live, gconstpointer data G_GNUC_UNUSED)
{
    set_up_leaver(live);
    g_assert_true(store_delete(live->base.daemon.store, STORE_ROOT KEY, -1, NULL));
    run_round(live);
    g_assert_false(live->world.resource);
    g_assert_nonnull(fake_lv("hf-web1-0"));
    g_assert_null(manifest_read("web1", NULL));
    g_assert_true(g_file_test(MANIFEST_FOLDER "/web1.json.aside", G_FILE_TEST_EXISTS));
}

/* Also hides what a Holdfast on this machine has. FALSE: not allowed here. */
static gboolean folders_hide(void)
{
    if (unshare(CLONE_NEWNS) != 0) {
        return FALSE;
    }
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("t", "/var/lib", "tmpfs", 0, NULL) == 0 &&
           mount("t", "/run", "tmpfs", 0, NULL) == 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!folders_hide()) {
        g_print("1..0 # SKIP no mount namespace: %s\n", g_strerror(errno));
        return 0;
    }
    static const struct {
        const char *path;
        void (*run)(Live *live, gconstpointer data);
    } tests[] = {
        {"/reconcile-guest/keeper", test_keeper},
        {"/reconcile-guest/keeper-still-connected-to-the-old-one", test_keeper_still_connected_to_the_old_one},
        {"/reconcile-guest/keeper-loses-its-disk-before-it-parts", test_keeper_loses_its_disk_before_it_parts},
        {"/reconcile-guest/keeper-of-a-restored-store", test_keeper_of_a_restored_store},
        {"/reconcile-guest/joining", test_joining},
        {"/reconcile-guest/leaving", test_leaving},
        {"/reconcile-guest/leaving-a-deleted-guest", test_leaving_a_deleted_guest},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_test_add(tests[i].path, Live, NULL, live_set_up, tests[i].run, live_tear_down);
    }
    return g_test_run();
}
