/* SPDX-License-Identifier: Apache-2.0
 * Pure: whether the cluster would survive losing one more node. Two majorities count, corosync's (who may run guests)
 * and etcd's (who may record which replica is in sync); without both no guest is started anywhere and a guest that
 * loses its replica freezes. */
#pragma once

#include <glib.h>

typedef struct {
    guint nodes, nodes_present;             /* corosync's node list, and members now */
    guint node_voters, node_voters_present; /* those of them with an etcd member */
    gboolean have_witness;
    gboolean witness_counts; /* it has joined and votes among this number of nodes */
    gboolean witness_voter;  /* it has an etcd member */
    gboolean witness_device; /* its vote is in corosync now */
    gboolean witness_etcd;   /* its etcd answers now */
} Reserve;

/* TRUE: one more node may fail and the rest goes on. A cluster of one node never has a reserve. */
gboolean reserve_present(const Reserve *reserve);
/* What people should know, or NULL when there is nothing to say. Caller frees. */
char *reserve_problem(const Reserve *reserve);
