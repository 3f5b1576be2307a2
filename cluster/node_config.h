/* SPDX-License-Identifier: Apache-2.0
 * /etc/holdfast/node.json: what this node knows of itself, written once by `holdfast init` or `join`. */
#pragma once

#include "common/json.h"

#define NODE_CONFIG_PATH "/etc/holdfast/node.json"
#define NODE_WITNESS_PATH "/etc/holdfast/witness.json" /* the same of a witness, which has no node.json */
#define NODE_CA_FILE "/etc/holdfast/tls/ca.crt"
#define NODE_CA_KEY_FILE "/etc/holdfast/tls/ca.key"
#define NODE_CERT_FILE "/etc/holdfast/tls/node.crt"
#define NODE_KEY_FILE "/etc/holdfast/tls/node.key"
#define NODE_VOTERS_PATH "/etc/holdfast/voters" /* one "https://address:2379" a line */

typedef struct {
    gint64 version; /* 1 */
    char *cluster, *node;
    gint64 node_id;      /* 0: a witness */
    char *ring0, *ring1; /* IPv4; ring1 may equal ring0 */
    char *storage_device;
    gint64 disk_hang_s; /* a copy whose disk hangs drops out after so many seconds; 0: the default */
} NodeConfig;

extern const JsonStruct node_config_type;
void node_config_free(NodeConfig *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NodeConfig, node_config_free)
NodeConfig *node_config_read(GError **error); /* NOT_FOUND: not a member of a cluster yet */
gboolean node_config_write(const NodeConfig *config, GError **error);

/* The same at another path, for tests and images. */
NodeConfig *node_config_read_at(const char *path, GError **error);
gboolean node_config_write_at(const char *path, const NodeConfig *config, GError **error);
