/* SPDX-License-Identifier: Apache-2.0
 * Cluster options, defaults and node memory of the projection. Pacemaker's own options and what an
 * operator sets stand in "cib-bootstrap-options", which has precedence over every other set, and stay untouched. */
#include "cluster/projection_parts.h"

#define IPC_LIMIT_MIN 500u /* Pacemaker's default */

int projection_fencing_delay_s(const ProjectionInput *input)
{
    return input->nodes->len == 2 && !input->quorum_device ? 15 : 0;
}

static const struct {
    const char *name, *value;
} fixed_options[] = {
    {"stonith-enabled", "true"},         {"stonith-action", "off"},      {"stonith-max-attempts", "10"},
    {"startup-fencing", "true"},         {"concurrent-fencing", "true"}, {"symmetric-cluster", "false"},
    {"start-failure-is-fatal", "false"}, {"load-threshold", "400%"}, /* busy guests are load too: at 80 % a loaded node
                                                                        would recover one guest at a time */
    {"node-action-limit", "32"},         {"migration-limit", "2"},       {"cluster-recheck-interval", "5min"},
    {"pe-error-series-max", "500"},      {"pe-warn-series-max", "500"},  {"pe-input-series-max", "500"},
};

/* Pacemaker writes have-watchdog itself when sbd runs. */
static gboolean has_watchdog(const Projection *projection)
{
    const xmlNode *config = xml_child(projection->configuration, "crm_config");
    for (const xmlNode *set = xml_child(config, "cluster_property_set"); set;
         set = xml_next(set, "cluster_property_set")) {
        for (const xmlNode *pair = xml_child(set, "nvpair"); pair; pair = xml_next(pair, "nvpair")) {
            if (xml_is(pair, "name", "have-watchdog")) {
                return xml_is(pair, "value", "true");
            }
        }
    }
    return FALSE;
}

static void put_options(Projection *projection)
{
    const ProjectionInput *input = projection->input;
    int delay_s = projection_fencing_delay_s(input);
    /* An agent or controller that falls behind this many messages is evicted, and an evicted controller gets its node
     * fenced. */
    guint ipc_limit = MAX(IPC_LIMIT_MIN, input->nodes->len * input->guests->len);
    gboolean suicide = has_watchdog(projection) && (input->nodes->len > 2 || input->quorum_device);
    g_autofree char *ipc_text = g_strdup_printf("%u", ipc_limit);
    g_autofree char *delay_text = g_strdup_printf("%ds", delay_s);
    g_autofree char *timeout_text = g_strdup_printf("%ds", 30 + 2 * delay_s); /* 2.1.5 counts the delay in */

    xmlNode *set = projection_element("cluster_property_set", "hf-options");
    for (guint i = 0; i < G_N_ELEMENTS(fixed_options); i++) {
        projection_pair(set, fixed_options[i].name, fixed_options[i].value);
    }
    projection_pair(set, "stonith-timeout", timeout_text);
    projection_pair(set, "priority-fencing-delay", delay_text);
    projection_pair(set, "cluster-ipc-limit", ipc_text);
    projection_pair(set, "no-quorum-policy", suicide ? "suicide" : "stop");
    projection_pair(set, "placement-strategy", projection_memory_known(projection) ? "balanced" : "default");
    projection_put(projection, projection_section(projection, "crm_config"), set);
}

static void put_defaults(Projection *projection)
{
    xmlNode *resources = projection_element("meta_attributes", "hf-rsc-defaults");
    projection_pair(resources, "migration-threshold", G_STRINGIFY(GUEST_RESTART_LIMIT));
    projection_pair(resources, "failure-timeout", G_STRINGIFY(GUEST_RESTART_WINDOW_S) "s");
    projection_pair(resources, "resource-stickiness", "100");
    projection_pair(resources, "priority", "1");
    projection_put(projection, projection_section(projection, "rsc_defaults"), resources);
    xmlNode *operations = projection_element("meta_attributes", "hf-op-defaults");
    projection_pair(operations, "timeout", "60s");
    projection_put(projection, projection_section(projection, "op_defaults"), operations);
}

void projection_options(Projection *projection)
{
    put_options(projection);
    put_defaults(projection);
}

static const NodeStatus *status_of(const ProjectionInput *input, const char *node)
{
    for (guint i = 0; input->node_statuses && i < input->node_statuses->len; i++) {
        const NodeStatus *status = g_ptr_array_index(input->node_statuses, i);
        if (g_strcmp0(status->node, node) == 0) {
            return status;
        }
    }
    return NULL;
}

static xmlNode *cib_node(const Projection *projection, const char *name)
{
    xmlNode *nodes = xml_child(projection->configuration, "nodes");
    for (xmlNode *node = xml_child(nodes, "node"); node; node = xml_next(node, "node")) {
        if (xml_is(node, "uname", name)) {
            return node;
        }
    }
    return NULL;
}

/* Pacemaker makes the <node>; we only tell it the memory guests may use. A node without status keeps its last figure.
 */
void projection_nodes(Projection *projection)
{
    for (guint i = 0; i < projection->input->nodes->len; i++) {
        const Node *node = g_ptr_array_index(projection->input->nodes, i);
        const NodeStatus *status = status_of(projection->input, node->name);
        xmlNode *element = cib_node(projection, node->name);
        if (!element || !status || status->memory_mib <= 0) {
            continue;
        }
        g_autofree char *id = g_strdup_printf("hf-memory.%s", node->name);
        g_autofree char *memory = g_strdup_printf("%" G_GINT64_FORMAT, MAX(status->memory_mib - NODE_RESERVE_MIB, 0));
        xmlNode *utilization = projection_element("utilization", id);
        projection_pair(utilization, "memory", memory);
        projection_put(projection, element, utilization);
    }
}

gboolean projection_memory_known(const Projection *projection)
{
    const ProjectionInput *input = projection->input;
    for (guint i = 0; i < input->nodes->len; i++) {
        const Node *node = g_ptr_array_index(input->nodes, i);
        g_autofree char *id = g_strdup_printf("hf-memory.%s", node->name);
        const xmlNode *element = cib_node(projection, node->name);
        if (!element || !xml_child_by_id(element, id)) {
            return FALSE;
        }
    }
    return input->nodes->len > 0;
}
