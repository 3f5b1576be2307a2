/* SPDX-License-Identifier: Apache-2.0
 * All volumes of one guest on this node, as one thing that converges: LV -> metadata -> attach -> gate -> connect ->
 * initial data, and the way back. Every step looks before it acts, so a kill between any two is repaired by the next
 * call. */
#pragma once

#include "cluster/objects.h"
#include "storage/drbd.h"
#include "storage/record.h"

#include <gio/gio.h>

typedef struct {
    const ProcessRunner *runner;
    const Guest *guest;
    GPtrArray *volumes; /* of Volume, sorted by index; borrowed */
    const char *node;
    const char *address, *peer_address; /* replication network */
    gboolean peer_absent; /* its node is known not to be in the membership: nobody waits for its connection */
    gboolean unconnected; /* it must not be connected now (node-agent/await_mark.h); volume_set_converge() heeds it */
    gboolean detached;    /* a disk failed here (storage/lost_copy.h): nothing is attached, see volume_set_converge() */
} VolumeSet;

/* A replica is being built or resumed here: up to and including connect. Never promotes. `record_new`: the guest's
 * record is still RECORD_NEW, so LVs and metadata may be made; otherwise a missing LV or missing metadata is REFUSED
 * ("replica lost"), never silently made anew. */
gboolean volume_set_converge(const VolumeSet *set, gboolean record_new, GError **error);
/* With set->detached: nothing is attached, and only what is Primary here gets connected (the peer's copy serves it);
 * then REFUSED, with what people have to do. volume_set_activate() does the same. */
/* Attach and connect what exists, quickly (the OCF agent's start path; at most about 1 s of waiting). */
gboolean volume_set_activate(const VolumeSet *set, GError **error);
/* By nodes[0] while the record is RECORD_NEW and all volumes of both sides are connected: skip the initial sync,
 * promote, fill volumes from images (progress in bytes through `on_progress`, cancellable), demote. The caller then
 * writes the record. */
typedef void (*VolumeProgress)(gint64 done_bytes, gint64 total_bytes, gpointer user_data);
gboolean volume_set_initialise(const VolumeSet *set, VolumeProgress on_progress, gpointer user_data,
                               GCancellable *cancellable, GError **error);
/* Bytes of one volume that can be used here, at most its size; 0: no disk. Less than its size while it grows: DRBD
 * follows when both replicas' LVs have grown, at the Primary's next converge (a stopped guest's at its next start). */
gint64 volume_set_usable_bytes(const VolumeSet *set, guint index);
/* Whether this node is Primary of any volume. */
gboolean volume_set_is_primary(const VolumeSet *set);
gboolean
volume_set_is_connected(const VolumeSet *set); /* every volume Connected with the peer (TRUE with one replica) */
/* Gates open / closed, and role. Order is the safety: promote then open; close then demote. */
gboolean volume_set_promote(const VolumeSet *set, GError **error);
gboolean volume_set_demote(const VolumeSet *set, GError **error);
gboolean volume_set_remove(const VolumeSet *set,
                           GError **error); /* gates, DRBD, LVs; refuses while in use; idempotent */
void volume_set_status(const VolumeSet *set, GPtrArray *ret_statuses /* of VolumeStatus */);
/* The guest's DRBD resource as this set sees it; borrows from it. */
DrbdResource volume_set_resource(const VolumeSet *set);
