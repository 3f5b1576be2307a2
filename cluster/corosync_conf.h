/* SPDX-License-Identifier: Apache-2.0
 * corosync.conf as a pure function of the cluster's nodes and tuning, and keeping the file on this node equal to it. */
#pragma once

#include "cluster/cluster_config.h"
#include "cluster/objects.h"
#include "cluster/witness.h"
#include "common/process.h"

#define COROSYNC_CONF_PATH "/etc/corosync/corosync.conf"

/* Text for `nodes` (of Node, any order; written by id) and the witness (may be NULL). Pure: equal input gives equal
 * bytes. Caller frees. */
char *corosync_conf_text(const char *cluster, const GPtrArray *nodes, const Witness *witness,
                         const CorosyncTuning *tuning);

/* Text of NODE_VOTERS_PATH: one https URL a line for each voter, the witness last. Pure. Caller frees. */
char *corosync_conf_voters_text(const GPtrArray *nodes, const Witness *witness, int etcd_client_port);

/* Level-triggered: make `prefix`/etc/corosync/corosync.conf and the voters file say what these objects say and, when
 * corosync.conf changed (also by a call that was cut short), have the running corosync read it. `prefix` is "" but in
 * tests. Blocking (runs corosync-cfgtool): call it on a worker, on every node, after each change below node/.
 * *ret_changed (may be NULL): something was written. An error is worth a retry; nothing is half done. */
gboolean corosync_conf_reconcile(const char *prefix, const ProcessRunner *runner, const ClusterConfig *config,
                                 const GPtrArray *nodes, const Witness *witness, int etcd_client_port,
                                 gboolean *ret_changed, GError **error);
