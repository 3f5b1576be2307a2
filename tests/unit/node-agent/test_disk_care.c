/* SPDX-License-Identifier: Apache-2.0
 * A disk that hangs: what it calls for, by a fake clock, and that a node is shot only for a guest that the shot frees.
 */
#include "common/ident.h"
#include "node-agent/disk_care.h"
#include "node-agent/give_way.h"
#include "node-agent/reconcile.h"
#include "storage/drbd_internal.h"
#include "storage/stall.h"
#include "tests/unit/node-agent/daemon_fixture.h"

#define S ((gint64) G_USEC_PER_SEC)

/* In the place of storage/drbd_proc.c. */
static DrbdState world;
static gboolean world_moves; /* something ends between any two looks */

gboolean drbd_state_read(int minor G_GNUC_UNUSED, DrbdState *ret, GError **error G_GNUC_UNUSED)
{
    world.local_done += world_moves;
    *ret = world;
    return TRUE;
}

gint64 drbd_device_size_bytes(int minor G_GNUC_UNUSED)
{
    return 0;
}

gint64 drbd_backing_size_bytes(const char *path G_GNUC_UNUSED)
{
    return 0;
}

void drbd_size_note_remove(int minor G_GNUC_UNUSED)
{
}

/* In the place of the real ones, which would look at this machine. */
static gint guest_kicks;

void reconcile_guest(const char *key, gpointer user_data G_GNUC_UNUSED)
{
    g_assert_cmpstr(key, ==, "guest/web1");
    g_atomic_int_inc(&guest_kicks);
}

void reconcile_node(const char *key G_GNUC_UNUSED, gpointer user_data G_GNUC_UNUSED)
{
}

/* ---- the pure part ---- */

static void test_judge(void)
{
    static const struct {
        gint64 probe_s, volume_s;
        gboolean primary, other_whole;
        DiskVerdict verdict;
    } table[] = {
        {0, 0, TRUE, TRUE, DISK_WELL},       {9, 9, FALSE, TRUE, DISK_WELL},    {10, 0, FALSE, FALSE, DISK_HANGS},
        {0, 10, TRUE, TRUE, DISK_HANGS},     {29, 29, FALSE, TRUE, DISK_HANGS}, {30, 0, FALSE, FALSE, DISK_GIVE_WAY},
        {0, 30, FALSE, TRUE, DISK_GIVE_WAY}, {0, 59, TRUE, TRUE, DISK_HANGS},   {0, 60, TRUE, TRUE, DISK_SHOOT},
        {0, 6000, TRUE, FALSE, DISK_HANGS}, /* it would free nobody */
        {6000, 0, TRUE, TRUE, DISK_HANGS},  /* no guest waits */
        {6000, 59, TRUE, TRUE, DISK_HANGS},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        DiskFacts facts = {table[i].probe_s * S, table[i].volume_s * S, table[i].primary, table[i].other_whole};
        g_assert_cmpint(disk_judge(&facts, 30), ==, table[i].verdict);
    }
    DiskFacts facts = {.volume_us = 1 * S};
    g_assert_cmpint(disk_judge(&facts, 1), ==, DISK_GIVE_WAY);
}

/* Work that ends, and none at all, are no waiting. */
static void test_disk_waits(void)
{
    Guest guest = {.name = (char *) "web1", .slot = 1};
    DrbdResource r = {.guest = &guest, .n_volumes = 1};
    world = (DrbdState){.present = TRUE};
    g_assert_false(drbd_disk_waits(&r));
    world.local_pending = 2;
    g_assert_true(drbd_disk_waits(&r));
    world_moves = TRUE;
    g_assert_false(drbd_disk_waits(&r));
    world_moves = FALSE;
}

static Record running(const char *owner)
{
    Record record = {.generation = 3, .state = RECORD_RUNNING, .in_sync = {"n1", "n2"}};
    g_strlcpy(record.owner, owner, sizeof(record.owner));
    g_strlcpy(record.owner_boot_id, ident_boot_id(), sizeof(record.owner_boot_id));
    return record;
}

static void test_give_way_may(void)
{
    Record record = running("n2");
    g_assert_true(give_way_may(&record, "n2"));
    g_assert_false(give_way_may(&record, NULL));
    g_assert_false(give_way_may(&record, "n1"));
    g_strlcpy(record.handover_to, "n1", sizeof(record.handover_to));
    g_assert_false(give_way_may(&record, "n2"));
    record = running("n2");
    g_strlcpy(record.unconfirmed, "x", sizeof(record.unconfirmed));
    g_assert_false(give_way_may(&record, "n2"));
    record = running("n2");
    record.in_sync[1][0] = '\0'; /* ours is the only whole copy */
    g_assert_false(give_way_may(&record, "n2"));
    record = running("n2");
    record.state = RECORD_STOPPED;
    g_assert_false(give_way_may(&record, "n2"));
}

/* ---- the whole ---- */

typedef struct {
    Fixture base;
    ProcessRunner runner;
    GMutex lock;
    GCond cond;
    int shots; /* lock */
    gint64 now_us;
} Scene;

static gboolean scene_run(const ProcessRunner *runner, const char *const *argv, const char *input G_GNUC_UNUSED,
                          int timeout_ms G_GNUC_UNUSED, ProcessResult *ret, GError **error G_GNUC_UNUSED)
{
    Scene *scene = runner->user_data;
    g_mutex_lock(&scene->lock);
    scene->shots += g_str_has_suffix(argv[0], "stonith_admin") && g_str_equal(argv[2], "n1");
    g_cond_broadcast(&scene->cond);
    g_mutex_unlock(&scene->lock);
    *ret = (ProcessResult){.stdout_text = g_strdup(""), .stderr_text = g_strdup("")};
    return TRUE;
}

static void record_put(Scene *scene, const Record *record)
{
    g_autofree char *key = record_key("web1");
    char *text = record_encode(record);
    put(scene->base.daemon.store, key, text);
    free(text);
    fixture_catch_up(&scene->base);
}

static void documents_put(Scene *scene)
{
    g_autoptr(Guest) guest = object_new(&guest_type);
    guest->version = 1;
    guest->name = g_strdup("web1");
    guest->uuid = g_strdup("u");
    guest->created_at = g_strdup("t");
    guest->slot = 1;
    guest->nodes = g_strsplit("n1,n2", ",", -1);
    guest->drbd_secret = g_strdup("00");
    guest->spec.vcpus = 1;
    guest->spec.memory_mib = 128;
    guest->spec.replicas = 2;
    g_ptr_array_add(guest->spec.volumes, g_new0(GuestVolumeSpec, 1));
    fixture_put(&scene->base, "guest/web1", &guest_type, guest);
    for (int i = 1; i <= 2; i++) {
        Node node = {.version = 1, .name = (char *) (i == 1 ? "n1" : "n2"), .id = i, .ring0 = (char *) "10.0.0.1"};
        g_autofree char *key = g_strconcat("node/", node.name, NULL);
        fixture_put(&scene->base, key, &node_type, &node);
    }
    FenceDevice device = {
        .version = 1, .node = (char *) "n1", .agent = (char *) "fence_ipmilan", .state = FENCE_PROVEN};
    fixture_put(&scene->base, "fence/n1", &fence_device_type, &device);
    Record record = running("n1");
    record_put(scene, &record);
}

static void scene_set_up(Scene *scene, gconstpointer data)
{
    fixture_set_up(&scene->base, data);
    Daemon *daemon = &scene->base.daemon;
    scene->runner = (ProcessRunner){.run = scene_run, .user_data = scene};
    daemon->runner = &scene->runner;
    daemon->worker = worker_new(2, daemon);
    daemon->drivers = worker_new(2, daemon);
    daemon->published = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->settled = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->resyncs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    daemon->view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 2}};
    fixture_load(&scene->base);
    documents_put(scene);
    disk_care_begin(daemon, 0);
    world = (DrbdState){.present = TRUE, .local_pending = 1, .local_done = 77};
    g_strlcpy(world.connection, "Connected", sizeof(world.connection));
    g_strlcpy(world.role, "Primary", sizeof(world.role));
    g_strlcpy(world.peer_role, "Secondary", sizeof(world.peer_role));
    g_strlcpy(world.disk, "UpToDate", sizeof(world.disk));
    g_strlcpy(world.peer_disk, "UpToDate", sizeof(world.peer_disk));
    scene->now_us = 1000 * S;
    guest_kicks = 0;
}

static void scene_tear_down(Scene *scene, gconstpointer data)
{
    Daemon *daemon = &scene->base.daemon;
    worker_free(daemon->worker); /* waits for what was kicked */
    g_assert_cmpint(g_atomic_int_get(&guest_kicks), >, 0);
    worker_free(daemon->drivers);
    g_hash_table_unref(daemon->published);
    g_hash_table_unref(daemon->settled);
    g_hash_table_unref(daemon->resyncs);
    disk_care_end(daemon);
    fixture_tear_down(&scene->base, data);
}

/* Looks of every 3 s over so many seconds. */
static DiskVerdict pass(Scene *scene, int seconds)
{
    for (int i = 0; i < seconds; i += 3) {
        scene->now_us += 3 * S;
        disk_care_look_at(&scene->base.daemon, scene->now_us);
    }
    return disk_care_verdict(&scene->base.daemon, "web1");
}

static void wait_shots(Scene *scene, int shots)
{
    gint64 end_us = g_get_monotonic_time() + 60 * S;
    g_mutex_lock(&scene->lock);
    while (scene->shots < shots && g_cond_wait_until(&scene->cond, &scene->lock, end_us)) {
    }
    g_assert_cmpint(scene->shots, ==, shots);
    g_mutex_unlock(&scene->lock);
}

/* The owner: told after 10 s, shot after 60, once in two minutes. */
static void test_owner(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &scene->base.daemon;
    g_assert_cmpint(pass(scene, 9), ==, DISK_WELL);
    g_assert_null(disk_care_text(daemon));
    g_assert_cmpint(pass(scene, 6), ==, DISK_HANGS);
    g_assert_true(disk_care_hangs(daemon));
    g_autofree char *text = disk_care_text(daemon);
    g_assert_true(strstr(text, "web1") && strstr(text, "docs/runbook/disk-hangs.md"));
    g_assert_cmpint(pass(scene, 42), ==, DISK_HANGS);
    g_assert_cmpint(scene->shots, ==, 0);
    g_assert_cmpint(pass(scene, 9), ==, DISK_SHOOT);
    wait_shots(scene, 1);
    pass(scene, 111);
    wait_shots(scene, 1);
    pass(scene, 9);
    wait_shots(scene, 2); /* the first one failed, or we would not be here */
}

/* A request that ends, however late, begins the count anew. */
static void test_slow_is_not_hung(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(pass(scene, 9), ==, DISK_WELL);
        world.local_done++;
    }
    pass(scene, 15);
    g_assert_true(disk_care_hangs(&scene->base.daemon));
    world.local_pending = 0;
    g_assert_cmpint(pass(scene, 3), ==, DISK_WELL);
    g_assert_false(disk_care_hangs(&scene->base.daemon));
    g_assert_null(disk_care_text(&scene->base.daemon));
    g_assert_cmpint(scene->shots, ==, 0);
}

/* What forbids the shot, one at a time. */
static void test_nobody_is_shot(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    Daemon *daemon = &scene->base.daemon;
    const DrbdState hung = world;
    for (int why = 0; why < 8; why++) {
        Record record = running("n1");
        FenceDevice device = {
            .version = 1, .node = (char *) "n1", .agent = (char *) "fence_ipmilan", .state = FENCE_PROVEN};
        daemon->view = (MembershipView){.connected = TRUE, .quorate = TRUE, .n_nodes = 2, .nodes = {1, 2}};
        world = hung;
        switch (why) {
        case 0: /* frozen: it waits for the peer's fate, not for the disk */
            world.suspended = TRUE;
            break;
        case 1:
            g_strlcpy(world.peer_disk, "Inconsistent", sizeof(world.peer_disk));
            break;
        case 2:
            g_strlcpy(world.connection, "WFConnection", sizeof(world.connection));
            break;
        case 3:
            record.in_sync[1][0] = '\0';
            break;
        case 4:
            g_strlcpy(record.owner_boot_id, "another", sizeof(record.owner_boot_id));
            break;
        case 5:
            daemon->view.n_nodes = 1;
            break;
        case 6:
            daemon->view.quorate = FALSE;
            break;
        case 7:
            device.state = FENCE_UNPROVEN;
            break;
        }
        fixture_put(&scene->base, "fence/n1", &fence_device_type, &device);
        record_put(scene, &record);
        g_assert_cmpint(pass(scene, 300), ==, why == 0 ? DISK_WELL : DISK_HANGS);
        world.local_pending = 0;
        pass(scene, 3);
    }
    g_assert_cmpint(scene->shots, ==, 0);
}

/* The other side: it drops out after 30 s and shoots nobody. (That it writes the note is seen in the lab.) */
static void test_replica(Scene *scene, gconstpointer data G_GNUC_UNUSED)
{
    g_strlcpy(world.role, "Secondary", sizeof(world.role));
    Record record = running("n2");
    record_put(scene, &record);
    g_assert_cmpint(pass(scene, 27), ==, DISK_HANGS);
    g_assert_cmpint(pass(scene, 300), ==, DISK_GIVE_WAY);
    g_assert_cmpint(scene->shots, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disk-care/judge", test_judge);
    g_test_add_func("/disk-care/disk-waits", test_disk_waits);
    g_test_add_func("/disk-care/give-way-may", test_give_way_may);
#define ADD(name, test) g_test_add("/disk-care/" name, Scene, NULL, scene_set_up, test, scene_tear_down)
    ADD("owner", test_owner);
    ADD("slow-is-not-hung", test_slow_is_not_hung);
    ADD("nobody-is-shot", test_nobody_is_shot);
    ADD("replica", test_replica);
    return g_test_run();
}
