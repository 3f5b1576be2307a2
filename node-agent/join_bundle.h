/* SPDX-License-Identifier: Apache-2.0
 * What a joiner is told and given, and its codec on both sides. */
#pragma once

#include "cluster/cluster_config.h"
#include "node-agent/join_admit.h"

typedef struct {
    gint64 version; /* 1 */
    char *cluster;
    gint64 node_id;  /* 0: a witness */
    gboolean voter;  /* runs an etcd member */
    char *ca, *cert; /* PEM */
    char *ca_key;    /* PEM; not for a witness, nor the next two */
    char *authkey;   /* corosync's, base64 */
    char *corosync_conf;
    char *voters;
    char *etcd_initial_cluster; /* with the joiner in it; NULL for a node that does not vote */
    ClusterConfig tuning;
    GPtrArray *members; /* of JoinMember: who is in corosync's membership now */
} JoinBundle;

typedef struct {
    gint64 id;
} JoinMember;

extern const JsonStruct join_bundle_type;

/* "name=url,..." of etcd's members with `node` among them. BUSY while another node has not finished its join. Caller
 * frees. */
char *join_bundle_initial_cluster(const SetupContext *context, Store *store, const char *node, const char *ring0,
                                  GError **error);

/* For the admitted node. Brings this node's corosync.conf up to date first. Caller owns. */
json_t *join_bundle_new(const JoinAdmission *admission, GError **error);
