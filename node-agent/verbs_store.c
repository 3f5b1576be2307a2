/* SPDX-License-Identifier: Apache-2.0
 * Verbs on the store itself: its snapshots, and the operator's word after a rescue or restore. */
#include "node-agent/verbs.h"

#include "cluster/store_rescue.h"
#include "common/error.h"
#include "node-agent/peer_verbs.h"
#include "node-agent/store_care.h"

#define LIST_TIMEOUT_MS 5000
#define TAKE_TIMEOUT_MS 150000

/* Ask every voter of the store that is online; what one refuses is in its answer. Array. */
static json_t *ask_voters(const VerbCall *call, const char *verb, int timeout_ms)
{
    g_autoptr(GPtrArray) nodes = cache_objects(call->daemon->cache, &node_type, "node/");
    json_t *answers = json_array();
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        g_autoptr(GError) problem = NULL;
        g_autoptr(json_t) arguments = json_object();
        if (!node->voter) {
            continue;
        }
        json_t *answer = g_str_equal(node->name, call->daemon->config->node)
                             ? peer_verb_run(call->daemon, verb, arguments, &problem)
                             : daemon_peer_call(call->daemon, node->name, verb, arguments, timeout_ms, &problem);
        json_array_append_new(answers,
                              answer ? answer : json_pack("{s:s,s:s}", "node", node->name, "error", problem->message));
    }
    return answers;
}

static json_t *store_snapshots(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return ask_voters(call, "store.snapshots", LIST_TIMEOUT_MS);
}

static json_t *store_snapshot(const VerbCall *call, GError **error G_GNUC_UNUSED)
{
    return ask_voters(call, "store.snapshot", TAKE_TIMEOUT_MS);
}

static json_t *store_confirm(const VerbCall *call, GError **error)
{
    if (!verb_confirmed(call, call->daemon->config->cluster, error) ||
        !store_rescue_confirm(call->daemon->store, error)) {
        return NULL;
    }
    daemon_event(call->daemon, "store.confirmed", "cluster", "%s says that the store's content is right", call->user);
    return json_pack("{s:s}", "cluster", call->daemon->config->cluster);
}

const Verb verbs_store[] = {
    {"store.snapshots", store_snapshots},
    {"store.snapshot", store_snapshot},
    {"store.confirm", store_confirm},
    {NULL, NULL},
};
