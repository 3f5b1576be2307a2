/* SPDX-License-Identifier: Apache-2.0
 * A replica that takes another's place, and the one whose place was taken.
 *
 * A new replica must be fresh: then DRBD copies everything. Metadata of an earlier replica of the same guest would let
 * it compare data generations instead, and the other side's one bitmap has served another peer since. So the volumes
 * are tagged, in the very lvcreate, with the id under which they are built; whatever else is here under their names
 * goes first. */
#include "storage/volume.h"

#include "common/error.h"
#include "storage/pool.h"

#include <string.h>

char *volume_set_join_tag(const VolumeSet *set)
{
    const Guest *guest = set->guest;
    return g_strcmp0(guest->joining, set->node) == 0 && guest->joining_id
               ? g_strconcat("hf-join-", guest->joining_id, NULL)
               : NULL;
}

static gboolean is_ours(const VolumeSet *set, const char *lv, GError **error)
{
    g_autofree char *own_tag = g_strconcat("hf-uuid-", set->guest->uuid, NULL);
    const char *tags[] = {own_tag, NULL};
    gboolean present, ours;
    if (!pool_lv_look(set->runner, lv, tags, &present, &ours, error)) {
        return FALSE;
    }
    if (present && !ours) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "logical volume " POOL_VG "/%s on %s belongs to an earlier guest of this name; if its data is not "
                    "needed: lvremove " POOL_VG "/%s",
                    lv, set->node, lv);
    }
    return !present || ours;
}

gboolean volume_set_clear_for_join(const VolumeSet *set, gboolean *ret_empty, GError **error)
{
    g_autofree char *own_tag = g_strconcat("hf-uuid-", set->guest->uuid, NULL);
    g_autofree char *join_tag = volume_set_join_tag(set);
    const char *tags[] = {own_tag, join_tag, NULL};
    gboolean old = FALSE;
    *ret_empty = TRUE;
    if (!join_tag) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "no replica of guest '%s' is to be built on %s",
                    set->guest->name, set->node);
        return FALSE;
    }
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *lv = guest_lv_name(set->guest->name, (int) i);
        gboolean present, of_join;
        if (!pool_lv_look(set->runner, lv, tags, &present, &of_join, error) ||
            (present && !of_join && !is_ours(set, lv, error))) {
            return FALSE;
        }
        old |= present && !of_join;
        *ret_empty &= !present;
    }
    *ret_empty |= old;
    return !old || volume_set_remove(set, error);
}

gboolean volume_set_retire(const VolumeSet *set, GError **error)
{
    DrbdResource r = volume_set_resource(set);
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state;
        if (!drbd_state_read(guest_minor(set->guest, (int) i), &state, error)) {
            return FALSE;
        }
        if (drbd_state_is_connected(&state)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                        "the replica of guest '%s' on %s was given up, and waits until nobody is connected to it",
                        set->guest->name, set->node);
            return FALSE;
        }
    }
    return drbd_down(&r, error);
}

gboolean volume_set_remove_own(const VolumeSet *set, GError **error)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        g_autofree char *lv = guest_lv_name(set->guest->name, (int) i);
        if (!is_ours(set, lv, error)) {
            return FALSE;
        }
    }
    return volume_set_remove(set, error);
}
