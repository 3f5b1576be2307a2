/* SPDX-License-Identifier: Apache-2.0
 * The same outcome as a disk that fails, by the same means. The note keeps this copy from starting, and from being used
 * again before an operator has seen to the disk; a Primary that lost us for want of an answer, and asks, finds it and
 * goes on. DRBD itself is left alone while the disk hangs: it takes one command at a time for the whole node, and one
 * that waits for the disk would keep all others waiting. When the disk answers DRBD would connect and use it again, and
 * the guest would stand still at the next hang: then the connection is cut. */
#include "node-agent/give_way.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/disk_care.h"
#include "storage/lost_copy.h"

gboolean give_way_may(const Record *record, const char *peer)
{
    return peer && record->state == RECORD_RUNNING && !record->handover_to[0] && !record->unconfirmed[0] &&
           g_str_equal(record->owner, peer) && record_is_in_sync(record, peer);
}

/* The disk is attached, and DRBD talks to the other node or will try. (Without a disk there is nothing to hang.) */
static gboolean is_in_use(const VolumeSet *set)
{
    static const char *const apart[] = {"StandAlone", "Disconnecting", NULL};
    static const char *const lost[] = {"Diskless", "Failed", NULL};
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(set->guest, (int) i), &state, NULL) && state.present &&
            !g_strv_contains(apart, state.connection) && !g_strv_contains(lost, state.disk)) {
            return TRUE;
        }
    }
    return FALSE;
}

static void note(Daemon *daemon, const Guest *guest, const char *peer)
{
    if (!lost_copy_note(LOST_COPY_ROOT, guest->name, guest_minor(guest, 0), ident_boot_id())) {
        log_line(LOG_LEVEL_ERROR, "guest '%s': the hung disk could not be noted in " LOST_COPY_ROOT ": %m",
                 guest->name);
        return;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(daemon, "guest.copy_dropped", object, "the disk of %s hangs: its copy drops out, %s goes on alone",
                 daemon->config->node, peer);
}

static void cut(const VolumeSet *set)
{
    g_autoptr(GError) error = NULL;
    DrbdResource resource = volume_set_resource(set);
    log_line(LOG_LEVEL_NOTICE, "guest '%s': the disk here answers again; its copy stays out until it is reattached",
             set->guest->name);
    if (!drbd_disconnect_force(&resource, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", set->guest->name, error->message);
    }
}

void give_way(Daemon *daemon, const VolumeSet *set, const char *peer, const Record *record)
{
    LostCopy lost;
    DiskVerdict verdict = disk_care_verdict(daemon, set->guest->name);
    /* Never during a hand-over, when we may be Secondary for a moment and the other side needs us. */
    if (!give_way_may(record, peer) || volume_set_is_primary(set)) {
        return;
    }
    lost_copy_look(LOST_COPY_ROOT, set->guest->name, ident_boot_id(), &lost);
    if (verdict == DISK_GIVE_WAY && !lost.held) {
        note(daemon, set->guest, peer);
    } else if (verdict == DISK_WELL && lost.held && !lost.full && lost.n_names > 0 && is_in_use(set)) {
        cut(set);
    }
}
