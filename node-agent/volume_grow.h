/* SPDX-License-Identifier: Apache-2.0
 * Growing a volume. The verb only writes the new size; what follows is level-triggered and has no driver that could
 * die: each replica's node grows its LV (volume_set_converge), the Primary's node then has DRBD take the new size and
 * widens the gate, and last tells the running VMM (volume_grow_follow). The operation is judged from what the nodes
 * report. A stopped guest's DRBD devices follow at its next start, so for it the LVs are all. */
#pragma once

#include "cluster/objects.h"
#include "storage/volume.h"
#include "vmm/engine.h"

/* On the node where the guest runs, after volume_set_converge(): show the guest what has grown. FALSE with an error, or
 * FALSE without one when DRBD has not followed yet: look again soon. Elsewhere there is nothing to do: TRUE. */
gboolean volume_grow_follow(const VolumeSet *set, const VmmEngine *engine, const char *run_folder, GError **error);

/* Fill in what the VMM here shows to the guest. */
void volume_grow_fill_status(const VmmEngine *engine, const char *run_folder, GuestStatus *status);

/* How far it is. `statuses` has one GuestStatus per guest->nodes, NULL where there is no word. Pure. */
typedef struct {
    char *stage; /* for people: each node and what it is waiting for; caller frees */
    int done, total;
} GrowProgress;
GrowProgress volume_grow_judge(const Guest *guest, const Volume *volume, GuestStatus *const *statuses);
