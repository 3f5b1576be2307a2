/* SPDX-License-Identifier: Apache-2.0
 * etcd's configuration file (3.4) of one member as a pure function. */
#pragma once

#include "cluster/cluster_config.h"
#include "cluster/objects.h"

#define ETCD_CONF_PATH "/etc/holdfast/etcd.yaml"
#define ETCD_DATA_PATH "/var/lib/holdfast/etcd"
#define ETCD_RUN_PATH "/run/holdfast-etcd" /* the unit's working directory: "unix://etcd.sock:0" is relative to it */
#define ETCD_CLIENT_PORT 2379
#define ETCD_PEER_PORT 2380

typedef struct {
    const char *prefix; /* "" but in tests; begins every path */
    const char *name;
    const char *ring0;
    const char *initial_cluster; /* "n1=https://10.0.0.1:2380,..." with this member in it */
    gboolean existing;           /* joins a running cluster */
    const char *cluster_token;   /* random; keeps a member from talking to a cluster that merely has its addresses */
    const EtcdTuning *tuning;
    int client_port, peer_port;
} EtcdConf;

char *etcd_conf_text(const EtcdConf *conf); /* caller frees */

/* URL other members reach this one by. Caller frees. */
char *etcd_conf_peer_url(const char *ring0, int peer_port);
/* "name=url,..." of every voter among `nodes` (of Node), by id. Caller frees. */
char *etcd_conf_initial_cluster(const GPtrArray *nodes, int peer_port);
