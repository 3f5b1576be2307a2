/* SPDX-License-Identifier: Apache-2.0
 * Growing: when the VMM is told, and how an operation is judged from what the nodes report. */
#include "node-agent/volume_grow.h"
#include "storage/pool.h"
#include "tests/unit/storage/fake_runner.h"

#define MIB ((gint64) 1024 * 1024)

/* A VMM that remembers what it was told; engines have no user data. */
static struct {
    VmmState state;
    gint64 size[2];
    int told;
    gboolean refuses;
} vmm;

static VmmState vmm_query(const char *run_folder G_GNUC_UNUSED, const char *guest G_GNUC_UNUSED)
{
    return vmm.state;
}

static gboolean vmm_size(const char *run_folder G_GNUC_UNUSED, int index, gint64 *ret, GError **error G_GNUC_UNUSED)
{
    *ret = vmm.size[index];
    return TRUE;
}

static gboolean vmm_resize(const char *run_folder G_GNUC_UNUSED, int index, gint64 size_bytes, GError **error)
{
    if (vmm.refuses) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "no answer");
        return FALSE;
    }
    vmm.told += vmm.size[index] != size_bytes;
    vmm.size[index] = size_bytes;
    return TRUE;
}

static const VmmEngine engine = {.query = vmm_query, .disk_size = vmm_size, .disk_resize = vmm_resize};

static char *nodes[] = {"n1", "n2", NULL};

typedef struct {
    FakeWorld world;
    Guest guest;
    Volume volumes[2];
    GPtrArray *list;
    VolumeSet set;
} Fixture;

/* A running guest with two volumes of 64 MiB on this node, n1. */
static void fixture_start(Fixture *f)
{
    fake_world_start(&f->world);
    f->world.pv_vg = g_strdup("holdfast");
    f->world.vg = f->world.pool = f->world.pool_errors_when_full = TRUE;
    f->guest = (Guest){.name = "web1", .uuid = "u", .slot = 5, .nodes = nodes, .drbd_secret = "5ec7e7"};
    f->list = g_ptr_array_new();
    for (int i = 0; i < 2; i++) {
        f->volumes[i] = (Volume){.guest = "web1", .index = i, .size_bytes = 64 * MIB};
        g_ptr_array_add(f->list, &f->volumes[i]);
        vmm.size[i] = 64 * MIB;
    }
    f->set = (VolumeSet){.runner = &f->world.runner,
                         .guest = &f->guest,
                         .volumes = f->list,
                         .node = "n1",
                         .address = "10.0.0.1",
                         .peer_address = "10.0.0.2"};
    vmm.state = VMM_RUNNING;
    vmm.told = 0;
    vmm.refuses = FALSE;
    g_assert_true(volume_set_converge(&f->set, TRUE, NULL));
    g_assert_true(volume_set_initialise(&f->set, NULL, NULL, NULL, NULL));
    g_assert_true(volume_set_promote(&f->set, NULL));
}

static void fixture_clear(Fixture *f)
{
    g_ptr_array_unref(f->list);
    fake_world_clear(&f->world);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Fixture, fixture_clear)

static gboolean round_of_reconcile(const Fixture *f, GError **error)
{
    return volume_set_converge(&f->set, FALSE, error) && volume_grow_follow(&f->set, &engine, "/run/x", error);
}

static void test_follow(void)
{
    g_auto(Fixture) f = {0};
    GError *error = NULL;
    fixture_start(&f);
    g_assert_true(round_of_reconcile(&f, NULL));
    g_assert_cmpint(vmm.told, ==, 0);
    f.volumes[1].size_bytes = 128 * MIB;
    f.world.peer_lv_size[1] = 68 * MIB; /* the peer has not grown its LV yet */
    g_assert_false(round_of_reconcile(&f, &error));
    g_assert_no_error(error); /* nothing wrong, only not done */
    g_assert_cmpint(vmm.told, ==, 0);
    f.world.peer_lv_size[1] = 0;
    vmm.refuses = TRUE;
    g_assert_false(round_of_reconcile(&f, &error));
    g_assert_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT);
    g_assert_cmpstr(error->message, ==, "volume 0 has grown, the guest does not see it yet: no answer");
    g_clear_error(&error);
    vmm.refuses = FALSE;
    for (int again = 0; again < 2; again++) {
        g_assert_true(round_of_reconcile(&f, &error));
        g_assert_cmpint(vmm.told, ==, 1);
        g_assert_cmpint(vmm.size[1], ==, 128 * MIB);
    }
}

/* Neither on the other node, nor to a VMM that is being received, nor to none. */
static void test_follow_elsewhere(void)
{
    g_auto(Fixture) f = {0};
    fixture_start(&f);
    f.volumes[0].size_bytes = 128 * MIB;
    vmm.state = VMM_INCOMING;
    g_assert_true(round_of_reconcile(&f, NULL));
    vmm.state = VMM_STOPPED;
    g_assert_true(round_of_reconcile(&f, NULL));
    vmm.state = VMM_RUNNING;
    g_assert_true(volume_set_demote(&f.set, NULL));
    g_assert_true(round_of_reconcile(&f, NULL));
    g_assert_cmpint(vmm.told, ==, 0);
}

static void test_fill_status(void)
{
    g_auto(Fixture) f = {0};
    g_autoptr(GuestStatus) status = object_new(&guest_status_type);
    fixture_start(&f);
    status->guest = g_strdup("web1");
    volume_set_status(&f.set, status->volumes);
    vmm.state = VMM_STOPPED;
    volume_grow_fill_status(&engine, "/run/x", status);
    g_assert_cmpint(((VolumeStatus *) status->volumes->pdata[1])->guest_bytes, ==, 0);
    vmm.state = VMM_RUNNING;
    vmm.size[1] = 12 * MIB;
    volume_grow_fill_status(&engine, "/run/x", status);
    g_assert_cmpint(((VolumeStatus *) status->volumes->pdata[0])->guest_bytes, ==, 64 * MIB);
    g_assert_cmpint(((VolumeStatus *) status->volumes->pdata[1])->guest_bytes, ==, 12 * MIB);
}

/* ---- judging ---- */

/* Sizes in MiB of volume 0: the LV, DRBD's device, the guest's view. */
static GuestStatus *status_of(const char *state, gint64 backing, gint64 size, gint64 guest)
{
    GuestStatus *status = object_new(&guest_status_type);
    VolumeStatus *volume = object_new(&volume_status_type);
    status->vmm = g_strdup(state);
    volume->disk = g_strdup("UpToDate");
    volume->peer_disk = g_strdup("Inconsistent");
    volume->connection = g_strdup("SyncSource");
    volume->backing_bytes = backing * MIB;
    volume->size_bytes = size * MIB;
    volume->guest_bytes = guest * MIB;
    g_ptr_array_add(status->volumes, volume);
    return status;
}

static void judged(GuestStatus *first, GuestStatus *second, int done, int total, const char *stage)
{
    Guest guest = {.name = "web1", .nodes = nodes};
    Volume volume = {.guest = "web1", .index = 0, .size_bytes = 128 * MIB};
    GuestStatus *const statuses[] = {first, second};
    GrowProgress progress = volume_grow_judge(&guest, &volume, statuses);
    g_assert_cmpstr(progress.stage, ==, stage);
    g_assert_cmpint(progress.done, ==, done);
    g_assert_cmpint(progress.total, ==, total);
    g_free(progress.stage);
    guest_status_free(first);
    guest_status_free(second);
}

#define DRBD_WAITS                                                                                                     \
    "DRBD takes the new size once both replicas are UpToDate and grown (here UpToDate/Inconsistent, SyncSource)"

static void test_judge(void)
{
    g_assert_cmpint(pool_lv_size_bytes(128 * MIB), ==, 132 * MIB);
    judged(status_of("running", 68, 64, 64), status_of("stopped", 68, 64, 0), 0, 5,
           "n1: growing its logical volume; n2: growing its logical volume");
    judged(status_of("running", 132, 64, 64), status_of("stopped", 68, 64, 0), 1, 5,
           "n1: " DRBD_WAITS "; n2: growing its logical volume");
    judged(status_of("running", 132, 128, 64), status_of("stopped", 132, 64, 0), 3, 5,
           "n1: telling the guest; n2: " DRBD_WAITS);
    judged(status_of("running", 132, 128, 64), status_of("stopped", 132, 128, 0), 4, 5,
           "n1: telling the guest; n2: done");
    judged(status_of("running", 132, 128, 128), status_of("stopped", 132, 128, 0), 5, 5, "n1: done; n2: done");
    /* Stopped: the logical volumes are all that can be done. */
    judged(status_of("stopped", 132, 64, 0), status_of("stopped", 132, 64, 0), 2, 2, "n1: done; n2: done");
    judged(status_of("stopped", 132, 64, 0), status_of("stopped", 68, 64, 0), 1, 2,
           "n1: done; n2: growing its logical volume");
    /* A node that went away meanwhile is waited for, whatever the other says. */
    judged(status_of("running", 132, 128, 128), NULL, 3, 5,
           "n1: done; n2: no word from it: its node or its agent is away");
    GuestStatus *full = status_of("stopped", 68, 64, 0);
    full->condition = g_strdup("no room for hf-web1-0");
    judged(status_of("running", 132, 64, 64), full, 1, 5, "n1: " DRBD_WAITS "; n2: no room for hf-web1-0");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/volume-grow/follow", test_follow);
    g_test_add_func("/volume-grow/follow-elsewhere", test_follow_elsewhere);
    g_test_add_func("/volume-grow/fill-status", test_fill_status);
    g_test_add_func("/volume-grow/judge", test_judge);
    return g_test_run();
}
