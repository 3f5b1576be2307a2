/* SPDX-License-Identifier: Apache-2.0
 * The store's one document about the cluster as a whole: name and tuning, written once by `holdfast-setup init`. */
#pragma once

#include "cluster/store.h"
#include "common/json.h"

#define CLUSTER_CONFIG_KEY STORE_ROOT "cluster/config"
#define CLUSTER_NODES_MAX 32
#define CLUSTER_VOTERS_MAX 5 /* etcd members; further nodes use the store over the network */

typedef struct {
    gint64 token_ms; /* 0: by the number of nodes */
} CorosyncTuning;

typedef struct {
    gint64 heartbeat_ms, election_ms; /* 0: 100 and 1000 */
} EtcdTuning;

typedef struct {
    gint64 version; /* 1 */
    char *name;
    char *created_at;
    CorosyncTuning corosync;
    EtcdTuning etcd;
} ClusterConfig;

extern const JsonStruct corosync_tuning_type, etcd_tuning_type, cluster_config_type;

void cluster_config_free(ClusterConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ClusterConfig, cluster_config_free)

/* Tuning that daemons would refuse, or that would make them flap, is INVALID; `what` begins the text ("corosync",
 * "etcd"). */
gboolean corosync_tuning_check(const CorosyncTuning *tuning, const char *what, GError **error);
gboolean etcd_tuning_check(const EtcdTuning *tuning, const char *what, GError **error);

char *cluster_config_to_text(const ClusterConfig *config);
ClusterConfig *cluster_config_from_text(const char *text, GError **error);
/* From the store. NOT_FOUND before the first node wrote it. */
ClusterConfig *cluster_config_load(Store *store, GError **error);
