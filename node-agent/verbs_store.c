/* SPDX-License-Identifier: Apache-2.0
 * Verbs on the store itself: its snapshots, and the operator's word after a rescue or restore. */
#include "node-agent/verbs.h"

#include "cluster/store_rescue.h"
#include "common/error.h"
#include "node-agent/peer_verbs.h"
#include "node-agent/record_doubt.h"
#include "node-agent/store_care.h"
#include "storage/record.h"

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

static gboolean is_confirmed(const VerbCall *call, const char *wanted, GError **error)
{
    const char *confirm = verb_string(call, "confirm", error);
    if (confirm && !g_str_equal(confirm, wanted)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "confirm: must be '%s'", wanted);
        return FALSE;
    }
    return confirm != NULL;
}

static json_t *store_confirm(const VerbCall *call, GError **error)
{
    if (!is_confirmed(call, call->daemon->config->cluster, error) ||
        !store_rescue_confirm(call->daemon->store, error)) {
        return NULL;
    }
    daemon_event(call->daemon, "store.confirmed", "cluster", "%s says that the store's content is right", call->user);
    return json_pack("{s:s}", "cluster", call->daemon->config->cluster);
}

static json_t *guest_confirm(const VerbCall *call, GError **error)
{
    g_autoptr(Guest) guest = verb_object(call, &guest_type, "guest", NULL, error);
    const char *node = guest ? verb_string(call, "node", error) : NULL;
    if (!node || !is_confirmed(call, guest->name, error)) {
        return NULL;
    }
    if (!guest_on_node(guest, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "node: guest '%s' has no replica on '%s'",
                    guest->name, node);
        return NULL;
    }
    if (!record_doubt_confirm(call->daemon, guest, node, error)) {
        return NULL;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(call->daemon, "guest.confirmed", object, "%s says that the copy on %s is the current one", call->user,
                 node);
    return json_pack("{s:s,s:s}", "guest", guest->name, "node", node);
}

const Verb verbs_store[] = {
    {"store.snapshots", store_snapshots},
    {"store.snapshot", store_snapshot},
    {"store.confirm", store_confirm},
    {"guest.confirm", guest_confirm},
    {NULL, NULL},
};
