/* SPDX-License-Identifier: Apache-2.0
 * Letting the witness in, and taking it out. The protocol is that of a node's join; what differs is what is written:
 * the one key of the witness instead of a node, and `ready` when it has said that it is done, from when on it counts.
 */
#pragma once

#include "cluster/witness.h"
#include "node-agent/join_admit.h"

/* With the request checked and the lock held; sets admission->node. UNAVAILABLE: one node, try again when there are
 * two; REFUSED: an odd number of nodes; EXISTS: there is another witness. */
gboolean join_witness_admit(JoinAdmission *admission, const GPtrArray *nodes, GError **error);
/* It runs: from now on it counts. */
gboolean join_witness_ready(JoinAdmission *admission, GError **error);

/* Take the witness `name` out: it stops counting in corosync, then in etcd, then it is forgotten. It may be on or off.
 * NOT_FOUND: no such witness. REFUSED: not all nodes are online, as they must be to be a majority without it. */
gboolean witness_remove(const SetupContext *context, Store *store, const char *name, GError **error);
