/* SPDX-License-Identifier: Apache-2.0
 * Verbs on nodes and join tokens. */
#include "node-agent/verbs.h"

#include "common/error.h"
#include "node-agent/join.h"
#include "node-agent/join_witness.h"
#include "node-agent/node_gone.h"
#include "node-agent/operation.h"
#include "node-agent/node_remove.h"
#include "node-agent/views.h"
#include "node-agent/witness.h"

static json_t *node_list(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    g_autoptr(GPtrArray) nodes = cache_objects(call->daemon->cache, &node_type, "node/");
    json_t *list = json_array();
    for (guint i = 0; i < nodes->len; i++) {
        json_array_append_new(list, view_node(call->daemon, nodes->pdata[i], pacemaker));
    }
    return list;
}

static json_t *node_show(const VerbCall *call, GError **error)
{
    g_autoptr(Node) node = verb_object(call, &node_type, "node", NULL, error);
    if (!node) {
        return NULL;
    }
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(call->daemon, NULL);
    return view_node(call->daemon, node, pacemaker);
}

static json_t *node_standby(const VerbCall *call, GError **error)
{
    g_autoptr(Node) node = verb_object(call, &node_type, "node", NULL, error);
    if (!node) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("node/", node->name, NULL);
    return verb_target_free(call, target, error)
               ? verb_operation(call, operation_new("node.standby", target, NULL, call->daemon->config->node), error)
               : NULL;
}

static json_t *node_online(const VerbCall *call, GError **error)
{
    g_autoptr(Node) node = verb_object(call, &node_type, "node", NULL, error);
    if (!node) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("node/", node->name, NULL);
    if (!verb_target_free(call, target, error) || !pacemaker_standby(call->daemon->runner, node->name, FALSE, error)) {
        return NULL;
    }
    return verb_operation(call, operation_new("node.online", target, NULL, NULL), error);
}

/* A node, or the witness: both are what `join` let in. */
static gboolean member_remove(const VerbCall *call, const char *name, GError **error)
{
    g_autoptr(Witness) witness = witness_of(call->daemon);
    if (witness && g_str_equal(witness->name, name)) {
        return witness_remove(setup_context_default(), call->daemon->store, name, error);
    }
    return node_remove(setup_context_default(), call->daemon->store, call->daemon->config->node, name,
                       daemon_node_online(call->daemon, name), FALSE, error);
}

/* A node that is off for good: its replicas are built anew elsewhere first, which takes as long as it takes. */
static json_t *node_remove_gone(const VerbCall *call, GError **error)
{
    g_autoptr(Node) node = verb_object(call, &node_type, "node", NULL, error);
    if (!node) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("node/", node->name, NULL);
    return verb_target_free(call, target, error) && node_gone_check(call->daemon, node->name, error)
               ? verb_operation(call, operation_new("node.remove", target, "gone", call->daemon->config->node), error)
               : NULL;
}

static json_t *node_remove_verb(const VerbCall *call, GError **error)
{
    const char *name = verb_string(call, "name", error);
    if (name && json_is_true(json_object_get(call->arguments, "gone"))) {
        return node_remove_gone(call, error);
    }
    if (!name || !member_remove(call, name, error)) {
        return NULL;
    }
    g_autofree char *target = g_strconcat("node/", name, NULL);
    g_autoptr(Operation) operation = operation_new("node.remove", target, NULL, call->daemon->config->node);
    return operation_create_done(call->daemon, operation, error) ? operation_view(operation) : NULL;
}

static json_t *token_create(const VerbCall *call, GError **error)
{
    json_t *ttl = json_object_get(call->arguments, "ttl_s");
    gint64 ttl_s = ttl ? json_integer_value(ttl) : 3600;
    g_autofree char *token = NULL;
    if (!join_token_create(call->daemon->store, (int) CLAMP(ttl_s, 0, G_MAXINT), &token, error)) {
        return NULL;
    }
    return json_pack("{s:s,s:I}", "token", token, "expires_s", (json_int_t) ttl_s);
}

const Verb verbs_node[] = {
    {"node.list", node_list},
    {"node.show", node_show},
    {"node.standby", node_standby},
    {"node.online", node_online},
    {"node.remove", node_remove_verb},
    {"token.create", token_create},
    {NULL, NULL},
};
