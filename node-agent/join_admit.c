/* SPDX-License-Identifier: Apache-2.0
 * Letting one node in. Order matters: node and fence device first, then this node's corosync.conf, then what the joiner
 * is told; the etcd member is added only when the joiner has everything on its disk, as a learner, and votes once it
 * has caught up. */
#include "node-agent/join_admit.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "cluster/store_learner.h"
#include "cluster/store_rescue.h"
#include "common/error.h"
#include "common/ident.h"
#include "fencing/device.h"
#include "node-agent/join.h"
#include "node-agent/join_bundle.h"
#include "node-agent/join_witness.h"
#include "node-agent/setup/checks.h"

#include <string.h>

#define LOCK_TTL_S 60
#define MEMBERSHIP_TIMEOUT_MS 2000

static const JsonField join_token_fields[] = {
    {.name = "version", .kind = JSON_FIELD_INT, .offset = offsetof(JoinToken, version), .required = TRUE},
    {.name = "secret", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinToken, secret), .required = TRUE},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinToken, node)},
    {0},
};
const JsonStruct join_token_type = {.size = sizeof(JoinToken), .fields = join_token_fields};

static const JsonField join_fence_fields[] = {
    {.name = "agent", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinFence, agent), .required = TRUE},
    {.name = "parameters", .kind = JSON_FIELD_STRV, .offset = offsetof(JoinFence, parameters)},
    {0},
};
const JsonStruct join_fence_type = {.size = sizeof(JoinFence), .fields = join_fence_fields};

static const JsonField join_request_fields[] = {
    {.name = "proof", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinRequest, proof), .required = TRUE},
    {.name = "node", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinRequest, node), .required = TRUE},
    {.name = "ring0", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinRequest, ring0), .required = TRUE},
    {.name = "ring1", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinRequest, ring1)},
    {.name = "csr", .kind = JSON_FIELD_STRING, .offset = offsetof(JoinRequest, csr), .required = TRUE},
    {.name = "witness", .kind = JSON_FIELD_BOOL, .offset = offsetof(JoinRequest, witness)},
    {.name = "fence", .kind = JSON_FIELD_STRUCT, .offset = offsetof(JoinRequest, fence), .sub = &join_fence_type},
    {0},
};
const JsonStruct join_request_type = {.size = sizeof(JoinRequest), .fields = join_request_fields};

void join_admission_clear(JoinAdmission *admission)
{
    if (admission->lock_lease) {
        store_lease_revoke(admission->store, admission->lock_lease, NULL); /* else it expires by itself */
    }
    json_struct_clear(&join_token_type, &admission->token);
    json_struct_clear(&join_request_type, &admission->request);
    g_clear_pointer(&admission->token_key, g_free);
    g_clear_pointer(&admission->node, node_free);
    admission->lock_lease = 0;
}

gboolean join_admission_load(JoinAdmission *admission, const char *token_id, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_free(admission->token_key);
    admission->token_key = g_strconcat(JOIN_TOKEN_PREFIX, token_id, NULL);
    g_autoptr(StoreEntry) entry = store_get(admission->store, admission->token_key, NULL, &problem);
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_DENIED,
                    "token: unknown, expired or used already: make a new one with `holdfast token create` on a member");
        return FALSE;
    }
    if (!entry) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    g_autoptr(json_t) object = json_text_parse(entry->value, -1, "token", error);
    admission->token_revision = entry->mod_revision;
    admission->token_lease = entry->lease;
    json_struct_clear(&join_token_type, &admission->token);
    return object && json_struct_decode(object, &join_token_type, "token", &admission->token, error);
}

gboolean join_lock_take(Store *store, const char *holder, gint64 *ret_lease, gint64 *ret_revision, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(store, JOIN_LOCK_KEY, NULL, &problem);
    if (!entry && !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    g_autoptr(json_t) value = json_pack("{s:i,s:s}", "version", 1, "holder", holder);
    g_autofree char *text = json_text_from(value);
    /* The same holder again: its earlier connection died, this one takes over. */
    if (entry && strcmp(entry->value, text) != 0) {
        g_autoptr(json_t) present = json_text_parse(entry->value, -1, "lock", NULL);
        const char *other = json_string_value(json_object_get(present, "holder"));
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "the %s is going on: try again when it is done",
                    other ? other : "?");
        return FALSE;
    }
    gint64 lease = 0;
    if (!store_lease_grant(store, LOCK_TTL_S, &lease, error)) {
        return FALSE;
    }
    g_clear_error(&problem);
    if (!store_put(store, JOIN_LOCK_KEY, text, entry ? entry->mod_revision : 0, lease, ret_revision, &problem)) {
        store_lease_revoke(store, lease, NULL);
        gboolean lost = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT);
        g_set_error(error, HOLDFAST_ERROR, lost ? HOLDFAST_ERROR_BUSY : holdfast_error_code(problem), "%s",
                    lost ? "another change of the membership has just begun: try again in a minute" : problem->message);
        return FALSE;
    }
    *ret_lease = lease;
    return TRUE;
}

GPtrArray *join_nodes_load(Store *store, GError **error)
{
    g_autoptr(GPtrArray) entries = store_list(store, STORE_ROOT "node/", NULL, error);
    if (!entries) {
        return NULL;
    }
    g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func((GDestroyNotify) node_free);
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *entry = entries->pdata[i];
        Node *node = object_from_text(&node_type, entry->value, entry->key, error);
        if (!node) {
            return NULL;
        }
        g_ptr_array_add(nodes, node);
    }
    return g_steal_pointer(&nodes);
}

static Node *node_find(const GPtrArray *nodes, const char *name)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *node = nodes->pdata[i];
        if (strcmp(node->name, name) == 0) {
            return node;
        }
    }
    return NULL;
}

static gboolean refuse(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);
static gboolean refuse(GError **error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error_literal(error, HOLDFAST_ERROR, code, text);
    return FALSE;
}

static gboolean request_check(const JoinAdmission *admission, GError **error)
{
    const JoinRequest *request = &admission->request;
    if (!ident_check_name(request->node, "node", error) ||
        !check_address_text(admission->context, request->ring0, "ring0", error) ||
        (request->ring1 && !check_address_text(admission->context, request->ring1, "ring1", error))) {
        return FALSE;
    }
    if (admission->token.node && strcmp(admission->token.node, request->node) != 0) {
        return refuse(error, HOLDFAST_ERROR_DENIED, "token: was used by node '%s': make a new one for '%s'",
                      admission->token.node, request->node);
    }
    return TRUE;
}

gboolean join_address_free(const Node *other, const char *address, const char *field, GError **error)
{
    if (g_strcmp0(address, other->ring0) == 0 || g_strcmp0(address, other->ring1) == 0) {
        return refuse(error, HOLDFAST_ERROR_INVALID, "%s: %s belongs to node '%s' already: every node needs its own",
                      field, address, other->name);
    }
    return TRUE;
}

static gboolean has_ring1(const char *ring0, const char *ring1)
{
    return ring1 && strcmp(ring0, ring1) != 0;
}

/* A new node among the others. */
static gboolean fits(const JoinRequest *request, const GPtrArray *nodes, GError **error)
{
    if (nodes->len >= CLUSTER_NODES_MAX) {
        return refuse(error, HOLDFAST_ERROR_REFUSED, "node: the cluster has %u nodes, the most it may have is %d",
                      nodes->len, CLUSTER_NODES_MAX);
    }
    for (guint i = 0; i < nodes->len; i++) {
        const Node *other = nodes->pdata[i];
        if (!join_address_free(other, request->ring0, "ring0", error) ||
            (request->ring1 && !join_address_free(other, request->ring1, "ring1", error))) {
            return FALSE;
        }
        if (has_ring1(other->ring0, other->ring1) && !has_ring1(request->ring0, request->ring1)) {
            return refuse(error, HOLDFAST_ERROR_INVALID,
                          "ring1: is missing: the other nodes have a second network, without it on every node corosync "
                          "would lose its "
                          "second link");
        }
    }
    return TRUE;
}

/* An id is not used again while a higher one is in use: Pacemaker remembers ids of nodes it has seen. */
static Node *node_make(const JoinRequest *request, const GPtrArray *nodes, const Witness *witness)
{
    Node *made = object_new(&node_type);
    guint voters = witness && witness->voter ? 1 : 0;
    for (guint i = 0; i < nodes->len; i++) {
        const Node *other = nodes->pdata[i];
        made->id = MAX(made->id, other->id);
        voters += other->voter ? 1 : 0;
    }
    made->version = 1;
    made->id++;
    made->voter = voters < CLUSTER_VOTERS_MAX;
    made->name = g_strdup(request->node);
    made->ring0 = g_strdup(request->ring0);
    made->ring1 = g_strdup(request->ring1 ? request->ring1 : request->ring0);
    return made;
}

static gboolean txn_put_fence(StoreTxn *txn, const JoinRequest *request, GError **error)
{
    if (!request->fence.agent) {
        return TRUE;
    }
    g_autoptr(FenceDevice) device = object_new(&fence_device_type);
    device->version = 1;
    device->node = g_strdup(request->node);
    device->agent = g_strdup(request->fence.agent);
    device->parameters = g_strdupv(request->fence.parameters);
    if (!fence_device_check(device, error)) {
        g_prefix_error(error, "fence.");
        return FALSE;
    }
    g_autofree char *key = g_strconcat(STORE_ROOT "fence/", request->node, NULL);
    g_autofree char *text = object_to_text(&fence_device_type, device);
    store_txn_put(txn, key, text, 0);
    return TRUE;
}

gboolean join_enough_present(const JoinAdmission *admission, const GPtrArray *nodes, guint needed, GError **error)
{
    const SetupContext *context = admission->context;
    guint present = 0;
    MembershipView view = {0};
    g_autofree char *others = join_bundle_initial_cluster(context, admission->store, admission->request.node,
                                                          admission->request.ring0, error);
    if (!others || !context->membership(MEMBERSHIP_TIMEOUT_MS, &view, error)) {
        return FALSE;
    }
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        for (guint j = 0; j < view.n_nodes; j++) {
            present += view.nodes[j] == (guint32) node->id;
        }
    }
    if (!view.quorate || present < needed) {
        return refuse(
            error, HOLDFAST_ERROR_UNAVAILABLE,
            "%u of %u nodes are online, to let another machine in at least %u must be: bring the others back, "
            "or remove those that will not come back",
            present, nodes->len, needed);
    }
    return TRUE;
}

/* From the moment the node is in the store every member counts it in corosync's expected votes, so those present now
 * must still be a majority with it, and no second node may be half in. (Two nodes: two_node lets one of them go on, and
 * a witness's vote comes only with the second node.) */
static gboolean quorum_survives(const JoinAdmission *admission, const GPtrArray *nodes, const Witness *witness,
                                GError **error)
{
    guint n_after = nodes->len + 1;
    if (n_after == 2 && witness_votes(witness, n_after)) {
        return refuse(error, HOLDFAST_ERROR_REFUSED,
                      "node: one node and witness '%s' would lose their majority while a second node joins: remove the "
                      "witness first (`holdfast node remove %s`) and let it join again afterwards",
                      witness->name, witness->name);
    }
    return join_enough_present(admission, nodes, n_after == 2 ? 1 : n_after / 2 + 1, error);
}

static gboolean differs_from_witness(const JoinRequest *request, const Witness *witness, GError **error)
{
    if (witness && strcmp(witness->name, request->node) == 0) {
        return refuse(error, HOLDFAST_ERROR_EXISTS, "node: the witness is named '%s': choose another name",
                      witness->name);
    }
    if (witness &&
        (strcmp(witness->address, request->ring0) == 0 || g_strcmp0(witness->address, request->ring1) == 0)) {
        return refuse(error, HOLDFAST_ERROR_INVALID, "ring0: %s belongs to witness '%s' already", witness->address,
                      witness->name);
    }
    return TRUE;
}

void join_txn_bind_token(JoinAdmission *admission, StoreTxn *txn, const char *name)
{
    g_free(admission->token.node);
    admission->token.node = g_strdup(name);
    g_autoptr(json_t) token = json_struct_encode(&join_token_type, &admission->token);
    g_autofree char *text = json_text_from(token);
    store_txn_if_revision(txn, JOIN_LOCK_KEY, admission->lock_revision);
    store_txn_if_revision(txn, admission->token_key, admission->token_revision);
    store_txn_put(txn, admission->token_key, text, admission->token_lease);
}

/* Node, fence device and the token's binding in one transaction, valid only while the lock is still ours. */
static gboolean node_add(JoinAdmission *admission, const GPtrArray *nodes, GError **error)
{
    g_autoptr(Witness) witness = NULL;
    if (!witness_load(admission->store, &witness, NULL, error) || !fits(&admission->request, nodes, error) ||
        !differs_from_witness(&admission->request, witness, error) ||
        !quorum_survives(admission, nodes, witness, error)) {
        return FALSE;
    }
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autoptr(Node) made = node_make(&admission->request, nodes, witness);
    if (!txn_put_fence(txn, &admission->request, error)) {
        return FALSE;
    }
    g_autofree char *node_key = g_strconcat(STORE_ROOT "node/", made->name, NULL);
    g_autofree char *node_text = object_to_text(&node_type, made);
    join_txn_bind_token(admission, txn, made->name);
    store_txn_if_revision(txn, node_key, 0);
    store_txn_put(txn, node_key, node_text, 0);
    if (!store_txn_commit(admission->store, txn, &admission->token_revision, error)) {
        return FALSE;
    }
    setup_progress(admission->context, "join: node '%s' (id %d, %s) was let in", made->name, (int) made->id,
                   made->ring0);
    admission->node = g_steal_pointer(&made);
    return TRUE;
}

/* A node that began before: the same token, name and addresses. */
static gboolean node_resume(JoinAdmission *admission, const Node *present, GError **error)
{
    const JoinRequest *request = &admission->request;
    if (g_strcmp0(admission->token.node, request->node) != 0) {
        return refuse(error, HOLDFAST_ERROR_EXISTS,
                      "node: there is a node '%s' already: choose another name, or remove that node first",
                      request->node);
    }
    if (strcmp(present->ring0, request->ring0) != 0 ||
        g_strcmp0(present->ring1, request->ring1 ? request->ring1 : request->ring0) != 0) {
        return refuse(
            error, HOLDFAST_ERROR_INVALID,
            "ring0: node '%s' began to join as %s and %s: use the same addresses, or remove the node and join anew",
            present->name, present->ring0, present->ring1);
    }
    g_autofree char *text = object_to_text(&node_type, present);
    admission->node = object_from_text(&node_type, text, "node", error);
    setup_progress(admission->context, "join: node '%s' goes on with its join", present->name);
    return admission->node != NULL;
}

/* A list of nodes from before the truth would give a new node the id of one that is there. */
static gboolean store_is_confirmed(const JoinAdmission *admission, GError **error)
{
    g_autoptr(StoreRescue) rescue = NULL;
    if (!store_rescue_load(admission->store, &rescue, error)) {
        return FALSE;
    }
    return !rescue || rescue->confirmed_at ||
           refuse(error, HOLDFAST_ERROR_UNAVAILABLE,
                  "the store was %s and is not confirmed: `holdfast store confirm` first", store_rescue_word(rescue));
}

gboolean join_admit(JoinAdmission *admission, json_t **ret_bundle, GError **error)
{
    if (!request_check(admission, error) || !store_is_confirmed(admission, error)) {
        return FALSE;
    }
    g_autofree char *holder = g_strconcat("join of ", admission->request.node, NULL);
    if (!join_lock_take(admission->store, holder, &admission->lock_lease, &admission->lock_revision, error)) {
        return FALSE;
    }
    g_autoptr(GPtrArray) nodes = join_nodes_load(admission->store, error);
    if (!nodes) {
        return FALSE;
    }
    const Node *present = node_find(nodes, admission->request.node);
    if (!(admission->request.witness ? join_witness_admit(admission, nodes, error)
          : present                  ? node_resume(admission, present, error)
                                     : node_add(admission, nodes, error))) {
        return FALSE;
    }
    *ret_bundle = join_bundle_new(admission, error);
    return *ret_bundle != NULL;
}

gboolean join_admit_finish(JoinAdmission *admission, GError **error)
{
    if ((admission->request.witness && !join_witness_ready(admission, error)) ||
        !store_delete(admission->store, admission->token_key, -1, error)) {
        return FALSE;
    }
    setup_progress(admission->context, "join: '%s' is a full member", admission->node->name);
    return TRUE;
}
