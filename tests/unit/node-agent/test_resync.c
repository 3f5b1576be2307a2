/* SPDX-License-Identifier: Apache-2.0
 * How a resync is told to people, and how often. */
#include "node-agent/resync.h"
#include "storage/drbd_internal.h"

/* In the place of storage/drbd_proc.c: what each volume's DRBD says. */
static DrbdState world[GUEST_VOLUMES_MAX];

gboolean drbd_state_read(int minor, DrbdState *ret, GError **error G_GNUC_UNUSED)
{
    *ret = world[minor % GUEST_VOLUMES_MAX];
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

static void test_text(void)
{
    static const struct {
        const char *connection;
        gint64 permille, left_s;
        const char *text;
    } cases[] = {
        {"Connected", 1000, 0, NULL},
        {"SyncTarget", 0, 0, "resync 0 %"},
        {"SyncTarget", 439, 21, "resync 43 %, about 20 s left"},
        {"SyncTarget", 999, 1, "resync 99 %, a few seconds left"},
        {"SyncSource", 10, 89, "resync 1 %, about 90 s left"},
        {"SyncTarget", 10, 90, "resync 1 %, about 2 min left"},
        {"SyncTarget", 10, 5399, "resync 1 %, about 90 min left"},
        {"SyncTarget", 10, 5400, "resync 1 %, about 2 h left"},
        {"PausedSyncT", 439, 21, "resync paused at 43 %"},
        {NULL, 439, 0, "resync 43 %"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        VolumeStatus status = {.connection = (char *) cases[i].connection,
                               .resync_permille = cases[i].permille,
                               .resync_left_s = cases[i].left_s};
        g_autofree char *text = resync_text(&status);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void world_set(guint volume, int permille, gint64 left_kib)
{
    world[volume] = (DrbdState){.present = TRUE, .resync_permille = permille, .out_of_sync_kib = left_kib};
}

/* One round of the guest's loop: the figures that it publishes. */
static GPtrArray *publish(Daemon *daemon, const Guest *guest)
{
    GPtrArray *statuses = g_ptr_array_new_with_free_func(g_free);
    resync_look(daemon, guest);
    for (guint i = 0; i < guest->spec.volumes->len; i++) {
        VolumeStatus *status = g_new0(VolumeStatus, 1);
        *status = (VolumeStatus){
            .index = i, .resync_permille = world[i].resync_permille, .out_of_sync_kib = world[i].out_of_sync_kib};
        g_ptr_array_add(statuses, status);
    }
    resync_fill(daemon, guest->name, statuses);
    return statuses;
}

static void assert_figures(const GPtrArray *statuses, guint volume, gint64 permille, gint64 left_kib)
{
    const VolumeStatus *status = statuses->pdata[volume];
    g_assert_cmpint(status->resync_permille, ==, permille);
    g_assert_cmpint(status->out_of_sync_kib, ==, left_kib);
}

/* A loop that publishes in each round says nothing new until it is time, but begin and end are told at once. */
static void test_figures_stand(void)
{
    Daemon daemon = {0};
    Guest guest = {.name = (char *) "web1"};
    g_autoptr(GHashTable) resyncs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GPtrArray) volumes = g_ptr_array_new();
    daemon.resyncs = resyncs;
    guest.spec.volumes = volumes;
    g_mutex_init(&daemon.lock);
    g_ptr_array_add(volumes, &guest);
    g_ptr_array_add(volumes, &guest);
    world_set(0, 100, 9000);
    world_set(1, 1000, 77); /* no peer, the guest writes */
    g_assert_true(resync_look(&daemon, &guest));
    g_autoptr(GPtrArray) first = publish(&daemon, &guest);
    assert_figures(first, 0, 100, 9000);
    assert_figures(first, 1, 1000, 0);
    world_set(0, 110, 8900);
    world_set(1, 5, 200);
    g_assert_false(resync_look(&daemon, &guest));
    g_autoptr(GPtrArray) second = publish(&daemon, &guest);
    assert_figures(second, 0, 100, 9000);
    assert_figures(second, 1, 5, 200);
    world_set(0, 1000, 0);
    g_autoptr(GPtrArray) third = publish(&daemon, &guest);
    assert_figures(third, 0, 1000, 0);
    assert_figures(third, 1, 5, 200);
    world_set(0, 20, 500); /* another one */
    g_autoptr(GPtrArray) fourth = publish(&daemon, &guest);
    assert_figures(fourth, 0, 20, 500);
    g_mutex_clear(&daemon.lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/resync/text", test_text);
    g_test_add_func("/resync/figures-stand", test_figures_stand);
    return g_test_run();
}
