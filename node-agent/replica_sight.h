/* SPDX-License-Identifier: Apache-2.0
 * What can be seen of one replica, on this node or through its node's holdfastd: the facts on which an operator's word
 * about copies is judged (record_doubt.h, copy_choice.h). */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"

/* Here and now, over all volumes. */
typedef struct {
    gboolean vmm_running, vmm_there; /* "there": in any state but stopped */
    gboolean primary, all_primary;
    gboolean frozen;    /* a volume is Primary and its I/O is frozen */
    gboolean connected; /* some volume is connected to the other copy */
    gboolean up_to_date, usable,
        whole;              /* every disk: UpToDate; or Consistent; or Outdated, so at least not half-written */
    gint64 out_of_sync_kib; /* what DRBD knows to differ, or to be missing there */
} ReplicaSight;

gboolean replica_sight_look(const Manifest *manifest, ReplicaSight *ret, GError **error);

/* Peer verb "replica.look" of this node: what ReplicaView holds, as JSON. Caller owns. */
json_t *replica_sight_json(const Manifest *manifest, GError **error);

/* What one replica's node says, or that it cannot. */
typedef struct {
    gboolean answers;
    gboolean clean_down; /* out of our quorate membership, and Pacemaker holds it for cleanly down */
    gboolean runs;       /* a VMM is there, or a volume is Primary */
    gboolean frozen, connected, usable, whole; /* as in ReplicaSight */
    gboolean broken;  /* a disk there failed and was not released, or its LV is not there: the copy cannot be had */
    gboolean differs; /* DRBD found that the copies went different ways (storage/split_brain.h) */
} ReplicaView;

void replica_view(Daemon *daemon, const char *guest, const char *node, ReplicaView *ret);

/* A peer verb about one guest on `node`, which may be this one. Caller owns the answer. */
json_t *replica_ask(Daemon *daemon, const char *verb, const char *guest, const char *node, int timeout_ms,
                    GError **error);
