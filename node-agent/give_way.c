/* SPDX-License-Identifier: Apache-2.0
 * The same outcome as a disk that fails, by the same means: the note keeps this copy from starting and from being
 * attached again before an operator has seen to the disk; the cut connection lets the Primary freeze, record the loss
 * and go on. The note comes first here. DRBD's handler cuts first because writes are acknowledged meanwhile; under a
 * disk that hangs none is, and a Primary that asks finds the note and need not wait. */
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

/* Also a connection that broke counts: it waits for the disk's requests and would come back with the disk. */
static gboolean is_linked(const VolumeSet *set)
{
    for (guint i = 0; i < set->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(set->guest, (int) i), &state, NULL) && state.present &&
            !g_str_equal(state.connection, "StandAlone") && !g_str_equal(state.connection, "Disconnecting")) {
            return TRUE;
        }
    }
    return FALSE;
}

void give_way(Daemon *daemon, const VolumeSet *set, const char *peer, const Record *record)
{
    const Guest *guest = set->guest;
    LostCopy lost;
    if (disk_care_verdict(daemon, guest->name) != DISK_GIVE_WAY || !give_way_may(record, peer) ||
        volume_set_is_primary(set)) {
        return;
    }
    lost_copy_look(LOST_COPY_ROOT, guest->name, ident_boot_id(), &lost);
    if (!lost.held) {
        if (!lost_copy_note(LOST_COPY_ROOT, guest->name, guest_minor(guest, 0), ident_boot_id())) {
            log_line(LOG_LEVEL_ERROR, "guest '%s': the hung disk could not be noted in " LOST_COPY_ROOT ": %m",
                     guest->name);
            return;
        }
        g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
        daemon_event(daemon, "guest.copy_dropped", object, "the disk of %s hangs: its copy drops out, %s goes on alone",
                     daemon->config->node, peer);
    }
    g_autoptr(GError) error = NULL;
    DrbdResource resource = volume_set_resource(set);
    if (is_linked(set) && !drbd_disconnect_force(&resource, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", guest->name, error->message);
    }
}
