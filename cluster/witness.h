/* SPDX-License-Identifier: Apache-2.0
 * The cluster's witness: a machine without guests that votes, in etcd and through corosync's quorum device. At most
 * one, which is why it has one key and is no Node. */
#pragma once

#include "cluster/store.h"
#include "common/json.h"

#define WITNESS_KEY STORE_ROOT "cluster/witness"

typedef struct {
    gint64 version; /* 1 */
    char *name;
    char *address;  /* IPv4 at which every node reaches it */
    gboolean voter; /* runs an etcd member */
    gboolean ready; /* it has joined, and is not being removed: it counts */
} Witness;

extern const JsonStruct witness_type;

void witness_free(Witness *witness);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Witness, witness_free)

/* TRUE with *ret NULL when the cluster has none. *ret_revision (may be NULL) is 0 then. */
gboolean witness_load(Store *store, Witness **ret, gint64 *ret_revision, GError **error);

/* Whether it votes in corosync among that many nodes: an odd number needs no tie broken. `witness` may be NULL. */
gboolean witness_votes(const Witness *witness, guint n_nodes);
