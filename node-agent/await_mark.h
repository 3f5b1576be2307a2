/* SPDX-License-Identifier: Apache-2.0
 * When a copy must not be connected yet.
 *
 * A Primary that lost its peer is frozen until the loss is recorded. When the peer was rebooted meanwhile and connects,
 * DRBD cannot resend the frozen writes ("can not thaw IO with an only Consistent peer"): it completes them, drops the
 * connection and goes on, although the record still counts on the peer. Should the Primary's node die before the peer
 * has resynced, the peer would start without acknowledged writes. So a copy that is not connected and still named in
 * the record of a guest that runs elsewhere waits, unconnected, until its absence is recorded; it asks for that.
 * (tests/sim, MUTANT_CONNECT_UNMARKED.) */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/record_codec.h"

typedef struct {
    const char *node, *peer; /* this node, and the other copy's */
    gboolean configured;     /* DRBD has a connection already, up or trying: nothing to hold back */
    gboolean connected;      /* on some volume: the copies talk */
    gboolean primary_here;
    gboolean detached;        /* a disk failed here */
    const Record *record;     /* from a majority; NULL: not known */
    const char *peer_boot_id; /* life of the peer's node, from a majority; NULL: not known */
} AwaitMarkFacts;

typedef enum { CONNECT_NOW, CONNECT_LATER, CONNECT_AFTER_MARK } AwaitMark;

/* Pure. CONNECT_AFTER_MARK: the other node has to record our absence. */
AwaitMark await_mark_decide(const AwaitMarkFacts *facts);

/* Whether the copy here must stay unconnected in this round; asks the other node for the mark when that is needed. Not
 * to be called under the guest's lock: the other node calls back. */
gboolean await_mark(Daemon *daemon, const Manifest *manifest, gboolean detached);
