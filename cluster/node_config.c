/* SPDX-License-Identifier: Apache-2.0
 * /etc/holdfast/node.json. */
#include "cluster/node_config.h"

#include "cluster/objects.h"
#include "common/error.h"
#include "common/file.h"

#include <stddef.h>

#define NODE_CONFIG_MAX_BYTES 65536

static const JsonField node_config_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(NodeConfig, version), .required = TRUE},
    {.name = "cluster", .kind = JSON_FIELD_STRING, .offset = offsetof(NodeConfig, cluster), .required = TRUE},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(NodeConfig, node), .required = TRUE},
    {.name = "node_id",
     .kind = JSON_FIELD_INT,
     .offset = offsetof(NodeConfig, node_id),
     .required = TRUE,
     .min = 0,
     .max = G_MAXINT32},
    {.name = "ring0", .kind = JSON_FIELD_STRING, .offset = offsetof(NodeConfig, ring0), .required = TRUE},
    {.name = "ring1", .kind = JSON_FIELD_STRING, .offset = offsetof(NodeConfig, ring1)},
    {.name = "storage_device", .kind = JSON_FIELD_STRING, .offset = offsetof(NodeConfig, storage_device)},
    {.name = "disk_hang_s", .kind = JSON_FIELD_INT, .offset = offsetof(NodeConfig, disk_hang_s), .min = 0, .max = 3600},
    {0},
};

const JsonStruct node_config_type = {.size = sizeof(NodeConfig), .fields = node_config_fields};

void node_config_free(NodeConfig *config)
{
    object_free(&node_config_type, config);
}

NodeConfig *node_config_read(GError **error)
{
    return node_config_read_at(NODE_CONFIG_PATH, error);
}

NodeConfig *node_config_read_at(const char *path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = file_read(path, NODE_CONFIG_MAX_BYTES, &problem);
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
            "this node is not a member of a cluster yet (no %s): run 'holdfast-setup init' or 'holdfast-setup join'",
            path);
        return NULL;
    }
    if (!text) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    NodeConfig *config = object_from_text(&node_config_type, text, path, error);
    if (config && !config->ring1) {
        config->ring1 = g_strdup(config->ring0);
    }
    return config;
}

gboolean node_config_write(const NodeConfig *config, GError **error)
{
    return node_config_write_at(NODE_CONFIG_PATH, config, error);
}

gboolean node_config_write_at(const char *path, const NodeConfig *config, GError **error)
{
    g_autoptr(json_t) document = json_struct_encode(&node_config_type, config);
    if (config->disk_hang_s == 0) {
        json_object_del(document, "disk_hang_s"); /* an older holdfastd refuses what it does not know */
    }
    g_autofree char *text = json_text_from(document);
    return file_write_durable(path, text, -1, 0644, error);
}
