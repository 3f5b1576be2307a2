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

/* A replica is being built or resumed here: up to and including connect. Never promotes. `may_make`: LVs and metadata
 * may be made, since the guest's record is still RECORD_NEW, or the replica here is being built anew (guest->joining);
 * otherwise a missing LV or missing metadata is REFUSED ("replica lost"), never silently made anew. */
gboolean volume_set_converge(const VolumeSet *set, gboolean may_make, GError **error);
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

/* ---- a replica that is built anew in another's place (volume_join.c) ---- */

/* Tag of the volumes made for guest->joining_id, or NULL when no replica is built here. Caller frees. */
char *volume_set_join_tag(const VolumeSet *set);
/* Before the first converge with may_make: what an earlier replica of this very guest left here is removed, since DRBD
 * must see a fresh disk. The caller has proven that nobody counts on it. Idempotent; REFUSED for another guest's.
 * *ret_empty: no volume is here now. */
gboolean volume_set_clear_for_join(const VolumeSet *set, gboolean *ret_empty, GError **error);
/* This node's replica was given up: DRBD is taken down, once nobody is connected to it (BUSY until then): whoever is
 * may depend on it. The volumes stay. */
gboolean volume_set_retire(const VolumeSet *set, GError **error);
/* Then, proven unwanted, its volumes go: those that carry this guest's tag. */
gboolean volume_set_remove_own(const VolumeSet *set, GError **error);
