/* SPDX-License-Identifier: Apache-2.0
 * The planner's snapshot. */
#include "node-agent/plan_snapshot.h"

void plan_snapshot_take(Daemon *daemon, const PacemakerStatus *pacemaker, PlanSnapshot *snapshot)
{
    *snapshot = (PlanSnapshot){
        .nodes = cache_objects(daemon->cache, &node_type, "node/"),
        .node_statuses = g_ptr_array_new_with_free_func((GDestroyNotify) node_status_free),
        .guests = cache_objects(daemon->cache, &guest_type, "guest/"),
        .volumes = cache_objects(daemon->cache, &volume_type, "volume/"),
        .images = cache_objects(daemon->cache, &image_type, "image/"),
        .networks = cache_objects(daemon->cache, &network_type, "network/"),
        .homes = pacemaker ? g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free) : NULL,
    };
    for (guint i = 0; i < snapshot->nodes->len; i++) {
        const Node *node = snapshot->nodes->pdata[i];
        g_autofree char *key = g_strdup_printf("status/%s/node", node->name);
        NodeStatus *status = cache_object(daemon->cache, &node_status_type, key, NULL);
        if (status && daemon_node_online(daemon, node->name)) {
            g_ptr_array_add(snapshot->node_statuses, status);
        } else {
            node_status_free(status);
        }
    }
    for (guint i = 0; pacemaker && i < pacemaker->resources->len; i++) {
        const PacemakerResource *resource = pacemaker->resources->pdata[i];
        if (resource->node) {
            g_hash_table_insert(snapshot->homes, g_strdup(resource->id), g_strdup(resource->node));
        }
    }
}

void plan_snapshot_clear(PlanSnapshot *snapshot)
{
    g_clear_pointer(&snapshot->nodes, g_ptr_array_unref);
    g_clear_pointer(&snapshot->node_statuses, g_ptr_array_unref);
    g_clear_pointer(&snapshot->guests, g_ptr_array_unref);
    g_clear_pointer(&snapshot->volumes, g_ptr_array_unref);
    g_clear_pointer(&snapshot->images, g_ptr_array_unref);
    g_clear_pointer(&snapshot->networks, g_ptr_array_unref);
    g_clear_pointer(&snapshot->homes, g_hash_table_unref);
}
