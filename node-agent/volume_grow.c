/* SPDX-License-Identifier: Apache-2.0
 * Growing a volume: the last step, and how far it is. */
#include "node-agent/volume_grow.h"

#include "common/error.h"
#include "storage/pool.h"

#include <string.h>

static gboolean vmm_shows_disks(const VmmEngine *engine, const char *run_folder, const char *guest)
{
    VmmState state = engine->query(run_folder, guest);
    return state == VMM_RUNNING || state == VMM_PAUSED;
}

gboolean volume_grow_follow(const VolumeSet *set, const VmmEngine *engine, const char *run_folder, GError **error)
{
    gboolean all = TRUE;
    if (!volume_set_is_primary(set)) {
        return TRUE;
    }
    gboolean tell = vmm_shows_disks(engine, run_folder, set->guest->name);
    for (guint i = 0; i < set->volumes->len; i++) {
        gint64 wanted = ((const Volume *) set->volumes->pdata[i])->size_bytes;
        if (volume_set_usable_bytes(set, i) < wanted) {
            all = FALSE;
        } else if (tell && !engine->disk_resize(run_folder, (int) i, wanted, error)) {
            g_prefix_error(error, "volume %u has grown, the guest does not see it yet: ", i);
            return FALSE;
        }
    }
    return all;
}

void volume_grow_fill_status(const VmmEngine *engine, const char *run_folder, GuestStatus *status)
{
    if (!vmm_shows_disks(engine, run_folder, status->guest)) {
        return;
    }
    for (guint i = 0; i < status->volumes->len; i++) {
        VolumeStatus *volume = status->volumes->pdata[i];
        engine->disk_size(run_folder, (int) volume->index, &volume->guest_bytes, NULL);
    }
}

static const VolumeStatus *volume_find(const GuestStatus *status, gint64 index)
{
    for (guint i = 0; status && i < status->volumes->len; i++) {
        const VolumeStatus *volume = status->volumes->pdata[i];
        if (volume->index == index) {
            return volume;
        }
    }
    return NULL;
}

static gboolean has_vmm(const GuestStatus *status)
{
    return status && status->vmm && strcmp(status->vmm, "stopped") != 0;
}

/* Steps a node has behind it: 1 its LV, 2 its DRBD device, 3 the VMM there. *ret_text: what it is at. */
static int node_steps(const GuestStatus *status, const Volume *volume, int wanted_steps, char **ret_text)
{
    const VolumeStatus *seen = volume_find(status, volume->index);
    const char *condition = status && status->condition ? status->condition : "";
    if (!seen) {
        *ret_text = g_strdup(*condition ? condition : "no word from it: its node or its agent is away");
        return 0;
    }
    if (seen->backing_bytes < pool_lv_size_bytes(volume->size_bytes)) {
        *ret_text = g_strdup(*condition ? condition : "growing its logical volume");
        return 0;
    }
    if (wanted_steps >= 2 && seen->size_bytes < volume->size_bytes) {
        *ret_text =
            g_strdup_printf("DRBD takes the new size once both replicas are UpToDate and grown (here %s/%s, %s)",
                            seen->disk, seen->peer_disk, seen->connection);
        return 1;
    }
    if (wanted_steps >= 3 && seen->guest_bytes < volume->size_bytes) {
        *ret_text = g_strdup(*condition ? condition : "telling the guest");
        return 2;
    }
    *ret_text = g_strdup("done");
    return wanted_steps;
}

GrowProgress volume_grow_judge(const Guest *guest, const Volume *volume, GuestStatus *const *statuses)
{
    GrowProgress progress = {0};
    g_autoptr(GString) stage = g_string_new(NULL);
    gboolean running = FALSE;
    for (guint i = 0; guest->nodes[i]; i++) {
        running |= has_vmm(statuses[i]);
    }
    for (guint i = 0; guest->nodes[i]; i++) {
        int wanted = !running ? 1 : has_vmm(statuses[i]) ? 3 : 2;
        g_autofree char *text = NULL;
        progress.done += node_steps(statuses[i], volume, wanted, &text);
        progress.total += wanted;
        g_string_append_printf(stage, "%s%s: %s", i ? "; " : "", guest->nodes[i], text);
    }
    progress.stage = g_string_free(g_steal_pointer(&stage), FALSE);
    return progress;
}
