/* SPDX-License-Identifier: Apache-2.0
 * The witness as a node's holdfastd sees it: whether it answers, and corosync-qdevice running exactly while it votes.
 */
#pragma once

#include "cluster/reserve.h"
#include "cluster/witness.h"
#include "node-agent/daemon.h"

/* The witness of the store, NULL: none. Caller frees. */
Witness *witness_of(Daemon *daemon);
/* Start or stop corosync-qdevice. "node" task only, after corosync.conf was brought up to date. */
void witness_follow_device(Daemon *daemon, const Witness *witness, guint n_nodes);
/* Worker task "witness": does its etcd answer? */
void witness_look(const char *key, gpointer daemon);
/* Whether one more node may fail, as this node knows it. */
Reserve witness_reserve(Daemon *daemon);
/* For the status: name, address and what answers; null without a witness. Caller owns. */
json_t *witness_view(Daemon *daemon);
