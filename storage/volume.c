/* SPDX-License-Identifier: Apache-2.0
 * The volumes of one guest on this node.
 *
 * The rule this file keeps: unless the caller says so (`may_make`) the only thing it ever makes anew is what holds no
 * data (gates, kernel objects). A missing LV or missing metadata is then a lost replica, reported and left alone. */
#include "storage/volume.h"

#include "common/error.h"
#include "storage/copy.h"
#include "storage/drbd_internal.h"
#include "storage/gate.h"
#include "storage/image.h"
#include "storage/pool.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GRAIN (4 * 1024 * 1024) /* sizes of volumes and LVs are multiples of it */
#define CONNECT_WAIT_US (1000 * 1000)
#define CONNECT_PAUSE_US (20 * 1000)
#define GROW_WAIT_US (1000 * 1000)

DrbdResource volume_set_resource(const VolumeSet *set)
{
    return (DrbdResource){.runner = set->runner,
                          .guest = set->guest,
                          .n_volumes = (int) set->volumes->len,
                          .node = set->node,
                          .peer = guest_peer_node(set->guest, set->node),
                          .address = set->address,
                          .peer_address = set->peer_address};
}

static const Volume *volume_at(const VolumeSet *set, guint index)
{
    return set->volumes->pdata[index];
}

static char *lv_of(const VolumeSet *set, guint index)
{
    return guest_lv_name(set->guest->name, (int) index);
}

static char *gate_of(const VolumeSet *set, guint index)
{
    return guest_gate_name(set->guest->name, (int) index);
}

static gboolean state_of(const VolumeSet *set, guint index, DrbdState *ret, GError **error)
{
    return drbd_state_read(guest_minor(set->guest, (int) index), ret, error);
}

static gboolean set_check(const VolumeSet *set, GError **error)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        if (volume_at(set, i)->index != (gint64) i) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                        "guest '%s': volume %u is not there yet (got %" G_GINT64_FORMAT " in its place)",
                        set->guest->name, i, volume_at(set, i)->index);
            return FALSE;
        }
    }
    return TRUE;
}

/* While a volume grows its DRBD device lags behind for a moment; nothing may be mapped beyond it. */
static gint64 gate_size(const VolumeSet *set, guint index)
{
    gint64 wanted = volume_at(set, index)->size_bytes;
    gint64 device = drbd_device_size_bytes(guest_minor(set->guest, (int) index));
    return device > 0 && device < wanted ? device / 512 * 512 : wanted;
}

/* A volume never shrinks, and the store learns of a growth before any disk does. So a replica that is larger than the
 * store says tells that the store is older than the disk (a restored snapshot): opened at that size, the guest's disk
 * would be cut off. */
static gboolean size_is_believable(const VolumeSet *set, guint index, GError **error)
{
    g_autofree char *lv = lv_of(set, index);
    g_autofree char *path = pool_lv_path(lv);
    gint64 known = pool_lv_size_bytes(volume_at(set, index)->size_bytes), there = drbd_backing_size_bytes(path);
    gint64 size = there / GRAIN * GRAIN;
    if (there <= known) {
        return TRUE;
    }
    while (pool_lv_size_bytes(size) > there) {
        size -= GRAIN;
    }
    return holdfast_error_fail(
        error, HOLDFAST_ERROR_REFUSED,
        "%s on %s is larger than the store knows, so the store is older than the disk: 'holdfast "
        "volume grow %s-%u %" G_GINT64_FORMAT "' tells it the size; until then the guest is not "
        "started from it",
        lv, set->node, set->guest->name, index, size / (1024 * 1024));
}

static gboolean sizes_are_believable(const VolumeSet *set, GError **error)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        if (!size_is_believable(set, i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* A gate is there; its size follows the volume's, but not while the device lags: the guest shall see one growth, not
 * two. */
static gboolean gate_converge(const VolumeSet *set, guint index, GError **error)
{
    g_autofree char *gate = gate_of(set, index);
    GateState state;
    gint64 size = gate_size(set, index);
    if (!size_is_believable(set, index, NULL)) {
        return TRUE; /* left as it is; sizes_are_believable() tells */
    }
    if (size < volume_at(set, index)->size_bytes) {
        if (!gate_state(set->runner, gate, &state, NULL, error)) {
            return FALSE;
        }
        if (state != GATE_ABSENT) {
            return TRUE;
        }
    }
    return gate_ensure(set->runner, gate, size, error);
}

/* ---- building up ---- */

static gboolean replica_lost(const char *lv, GError *problem, GError **error)
{
    if (holdfast_error_code(problem) == HOLDFAST_ERROR_NOT_FOUND) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "replica lost: %s; it is not made anew by itself",
                    problem->message);
        g_error_free(problem);
    } else {
        g_propagate_prefixed_error(error, problem, "replica %s: ", lv);
    }
    return FALSE;
}

static gboolean volume_converge(const VolumeSet *set, guint index, gboolean may_make, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    g_autofree char *lv = lv_of(set, index);
    g_autofree char *lv_path = pool_lv_path(lv);
    g_autofree char *tag = g_strconcat("hf-uuid-", set->guest->uuid, NULL);
    g_autofree char *join_tag = volume_set_join_tag(set);
    GError *problem = NULL;
    if (!pool_lv_converge(set->runner, lv, pool_lv_size_bytes(volume_at(set, index)->size_bytes), tag, join_tag,
                          may_make, NULL, &problem)) {
        return may_make ? (g_propagate_error(error, problem), FALSE) : replica_lost(lv, problem, error);
    }
    return (!may_make || drbd_metadata_create(&r, (int) index, lv_path, error)) &&
           drbd_attach(&r, (int) index, lv_path, error) && gate_converge(set, index, error);
}

/* The new size comes with the peer's answer, a moment after `resize` returned; without it the next converge finds it.
 */
static gboolean volume_grow(const VolumeSet *set, guint index, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    if (!drbd_resize(&r, (int) index, error)) {
        return FALSE;
    }
    gint64 end_us = g_get_monotonic_time() + GROW_WAIT_US;
    while (gate_size(set, index) < volume_at(set, index)->size_bytes && g_get_monotonic_time() < end_us) {
        g_usleep(CONNECT_PAUSE_US);
    }
    return gate_converge(set, index, error);
}

/* A grown LV is taken into use by whoever is Primary (DRBD demands one), once the peer's LV is grown too: until then
 * DRBD's size does not change. DRBD then copies the new area to the peer, which counts as Inconsistent that long. */
static gboolean volumes_grow(const VolumeSet *set, GError **error)
{
    gboolean paired = guest_peer_node(set->guest, set->node) != NULL;
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state;
        if (!state_of(set, i, &state, error)) {
            return FALSE;
        }
        gboolean may = state.present && strcmp(state.role, "Primary") == 0 && !state.suspended &&
                       !g_str_has_prefix(state.connection, "Verify") &&
                       (!paired || drbd_state_is_up_to_date_pair(&state));
        if (may && gate_size(set, i) < volume_at(set, i)->size_bytes && !volume_grow(set, i, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* A disk that failed is not tried again by ourselves: it would fail again under the next write, and each time the
 * guest freezes until its loss is recorded. A Secondary is not connected either: without a disk it is of no use to the
 * Primary, and while the record still names it no resync may begin (reconcile_guest.c). */
static gboolean detached_converge(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    gboolean primary = FALSE;
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state;
        primary |= state_of(set, i, &state, NULL) && state.present && strcmp(state.role, "Primary") == 0;
    }
    if (primary && !(set->unconnected ? drbd_disconnect(&r, error) : drbd_connect(&r, error))) {
        return FALSE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                "a disk of guest '%s' failed on %s and is not used: repair it, then 'holdfast guest reattach %s --node "
                "%s' or restart the node",
                set->guest->name, set->node, set->guest->name, set->node);
    return FALSE;
}

gboolean volume_set_converge(const VolumeSet *set, gboolean may_make, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    if (!set_check(set, error)) {
        return FALSE;
    }
    if (set->detached) {
        return detached_converge(set, error);
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        if (!volume_converge(set, i, may_make, error)) {
            return FALSE;
        }
    }
    if (set->unconnected) {
        if (!volume_set_is_primary(set) && !drbd_disconnect(&r, error)) {
            return FALSE;
        }
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "guest '%s': the copy on %s is not connected before its absence is recorded on %s",
                    set->guest->name, set->node, r.peer);
        return FALSE;
    }
    /* The copies come together whatever their size; only the guest's view of them waits. */
    return drbd_connect(&r, error) && sizes_are_believable(set, error) && volumes_grow(set, error);
}

static gboolean volume_activate(const VolumeSet *set, guint index, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    g_autofree char *lv = lv_of(set, index);
    g_autofree char *lv_path = pool_lv_path(lv);
    GError *problem = NULL;
    DrbdState state;
    if (!state_of(set, index, &state, error)) {
        return FALSE;
    }
    if (!state.present || strcmp(state.disk, "Diskless") == 0) {
        if (!pool_lv_activate(set->runner, lv, &problem)) {
            return replica_lost(lv, problem, error);
        }
        if (!drbd_attach(&r, (int) index, lv_path, error)) {
            return FALSE;
        }
    }
    return gate_converge(set, index, error);
}

gboolean volume_set_is_connected(const VolumeSet *set)
{
    if (!guest_peer_node(set->guest, set->node)) {
        return TRUE;
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state;
        if (!state_of(set, i, &state, NULL) || !drbd_state_is_connected(&state)) {
            return FALSE;
        }
    }
    return TRUE;
}

gint64 volume_set_usable_bytes(const VolumeSet *set, guint index)
{
    gint64 device = drbd_device_size_bytes(guest_minor(set->guest, (int) index));
    return MIN(device / 512 * 512, volume_at(set, index)->size_bytes);
}

gboolean volume_set_is_primary(const VolumeSet *set)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state;
        if (state_of(set, i, &state, NULL) && state.present && strcmp(state.role, "Primary") == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean volume_set_activate(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    if (!set_check(set, error)) {
        return FALSE;
    }
    if (set->detached) {
        return detached_converge(set, error);
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        if (!volume_activate(set, i, error)) {
            return FALSE;
        }
    }
    if (!drbd_connect(&r, error)) {
        return FALSE;
    }
    /* A peer that is there answers at once, and what it says about its disk decides the claim; one that is not costs a
     * second. */
    gint64 end_us = g_get_monotonic_time() + CONNECT_WAIT_US;
    while (!set->peer_absent && !volume_set_is_connected(set) && g_get_monotonic_time() < end_us) {
        g_usleep(CONNECT_PAUSE_US);
    }
    return sizes_are_believable(set, error);
}

/* ---- first data ---- */

typedef struct {
    VolumeProgress on_progress;
    gpointer user_data;
    gint64 before, total; /* bytes of the images already copied, and of all */
} FillProgress;

static void fill_progress(gint64 done_bytes, gint64 total_bytes G_GNUC_UNUSED, gpointer user_data)
{
    const FillProgress *fill = user_data;
    if (fill->on_progress) {
        fill->on_progress(fill->before + done_bytes, fill->total, fill->user_data);
    }
}

/* Byte sizes of the images, 0 where a volume starts empty. NOT_FOUND, or INVALID when an image does not fit. */
static gboolean image_sizes(const VolumeSet *set, gint64 *ret_sizes, gint64 *ret_total, GError **error)
{
    *ret_total = 0;
    for (guint i = 0; i < set->volumes->len; i++) {
        const Volume *volume = volume_at(set, i);
        ret_sizes[i] = 0;
        if (!volume->image) {
            continue;
        }
        struct stat st;
        g_autofree char *path = image_path(volume->image);
        if (stat(path, &st) != 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "image '%s' is not on node %s", volume->image,
                        set->node);
            return FALSE;
        }
        if (st.st_size > volume->size_bytes) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                        "spec.volumes[%u].size_mib: image '%s' has %" G_GINT64_FORMAT " bytes, more than the volume", i,
                        volume->image, (gint64) st.st_size);
            return FALSE;
        }
        ret_sizes[i] = st.st_size;
        *ret_total += st.st_size;
    }
    return TRUE;
}

/* A repeat after a kill half-way writes every non-zero block again; zero blocks were never written by anybody, so they
 * read zero. */
static gboolean volumes_fill(const VolumeSet *set, FillProgress *fill, const gint64 *sizes, GCancellable *cancellable,
                             GError **error)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        const Volume *volume = volume_at(set, i);
        if (!volume->image) {
            continue;
        }
        g_autofree char *source = image_path(volume->image);
        g_autofree char *target = g_strdup_printf("/dev/drbd%d", guest_minor(set->guest, (int) i));
        CopyOptions options = {.on_progress = fill_progress, .user_data = fill, .cancellable = cancellable};
        if (!copy_sparse(source, target, &options, error)) {
            return FALSE;
        }
        fill->before += sizes[i];
    }
    return TRUE;
}

gboolean volume_set_initialise(const VolumeSet *set, VolumeProgress on_progress, gpointer user_data,
                               GCancellable *cancellable, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    FillProgress fill = {.on_progress = on_progress, .user_data = user_data};
    gint64 sizes[GUEST_VOLUMES_MAX];
    if (!set_check(set, error) || !image_sizes(set, sizes, &fill.total, error)) {
        return FALSE;
    }
    if (!volume_set_is_connected(set)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "guest '%s': the replica on %s is not connected yet, its volumes cannot be initialised",
                    set->guest->name, r.peer);
        return FALSE;
    }
    if (!(r.peer ? drbd_skip_initial_sync(&r, error) : drbd_force_initial(&r, error)) || !drbd_promote(&r, error)) {
        return FALSE;
    }
    gboolean filled = volumes_fill(set, &fill, sizes, cancellable, error);
    return drbd_demote(&r, filled ? error : NULL) && filled;
}

/* ---- role and gates ---- */

gboolean volume_set_promote(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    if (!set_check(set, error) || !drbd_promote(&r, error)) {
        return FALSE;
    }
    /* Growing needs a Primary, so a volume grown while its guest was stopped gets its size here. A failure costs only
     * the size. */
    g_autoptr(GError) not_grown = NULL;
    volumes_grow(set, &not_grown);
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *gate = gate_of(set, i);
        if (!gate_open(set->runner, gate, guest_minor(set->guest, (int) i), gate_size(set, i), error)) {
            volume_set_demote(set, NULL);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean volume_set_demote(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *gate = gate_of(set, i);
        if (!gate_close(set->runner, gate, volume_at(set, i)->size_bytes, error)) {
            return FALSE;
        }
    }
    return drbd_demote(&r, error);
}

/* ---- the end ---- */

static gboolean must_be_idle(const VolumeSet *set, GError **error)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *gate = gate_of(set, i);
        GateState gate_now;
        int open_count = 0;
        DrbdState state;
        if (!gate_state(set->runner, gate, &gate_now, &open_count, error) || !state_of(set, i, &state, error)) {
            return FALSE;
        }
        if (gate_now == GATE_OPEN || open_count > 0 || (state.present && strcmp(state.role, "Primary") == 0)) {
            g_set_error(
                error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                "volume %u of guest '%s' is in use on %s (gate %s, opened by %d, role %s): stop the guest first", i,
                set->guest->name, set->node, gate_state_name(gate_now), open_count,
                state.present ? state.role : "none");
            return FALSE;
        }
    }
    return TRUE;
}

gboolean volume_set_remove(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    if (!must_be_idle(set, error)) {
        return FALSE;
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *gate = gate_of(set, i);
        if (!gate_remove(set->runner, gate, error)) {
            return FALSE;
        }
    }
    if (!drbd_down(&r, error)) {
        return FALSE;
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *lv = lv_of(set, i);
        if (!pool_lv_remove(set->runner, lv, error)) {
            return FALSE;
        }
        drbd_size_note_remove(guest_minor(set->guest, (int) i));
    }
    return TRUE;
}

static void sizes_fill(const VolumeSet *set, guint index, VolumeStatus *status)
{
    g_autofree char *lv = lv_of(set, index);
    g_autofree char *lv_path = pool_lv_path(lv);
    status->backing_bytes = drbd_backing_size_bytes(lv_path);
    status->size_bytes = volume_set_usable_bytes(set, index);
}

void volume_set_status(const VolumeSet *set, GPtrArray *ret_statuses)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state = {.resync_permille = 1000};
        GateState gate_now = GATE_ABSENT;
        g_autofree char *gate = gate_of(set, i);
        state_of(set, i, &state, NULL);
        gate_state(set->runner, gate, &gate_now, NULL, NULL);
        VolumeStatus *status = g_new0(VolumeStatus, 1);
        status->index = volume_at(set, i)->index;
        status->role = g_strdup(state.present ? state.role : "Unknown");
        status->disk = g_strdup(state.present ? state.disk : "absent");
        status->peer_disk = g_strdup(state.present ? state.peer_disk : "DUnknown");
        status->connection = g_strdup(state.present ? state.connection : "StandAlone");
        status->suspended = state.suspended;
        status->resync_permille = state.resync_permille;
        status->out_of_sync_kib = state.out_of_sync_kib;
        status->gate = g_strdup(gate_state_name(gate_now));
        sizes_fill(set, i, status);
        g_ptr_array_add(ret_statuses, status);
    }
}
