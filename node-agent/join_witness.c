/* SPDX-License-Identifier: Apache-2.0
 * Letting the witness in, and taking it out. */
#include "node-agent/join_witness.h"

#include "cluster/corosync_conf.h"
#include "cluster/etcd_conf.h"
#include "common/error.h"
#include "node-agent/join.h"

#include <string.h>

#define MEMBERSHIP_TIMEOUT_MS 2000
#define REMOVE_WAIT_MS 15000

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

/* The witness in the shape that the later steps of a join look at. */
static Node *node_like(const Witness *witness)
{
    Node *node = object_new(&node_type);
    node->name = g_strdup(witness->name);
    node->ring0 = g_strdup(witness->address);
    node->voter = witness->voter;
    return node;
}

static gboolean witness_fits(const JoinAdmission *admission, const GPtrArray *nodes, GError **error)
{
    const JoinRequest *request = &admission->request;
    if (nodes->len < 2) {
        return refuse(error, HOLDFAST_ERROR_UNAVAILABLE,
                      "role: the cluster has one node yet: a witness is let in once there are two");
    }
    if (nodes->len % 2 != 0) {
        return refuse(
            error, HOLDFAST_ERROR_REFUSED,
            "role: the cluster has %u nodes, an odd number, which has a majority by itself: a witness is for an "
            "even number of nodes",
            nodes->len);
    }
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        if (strcmp(node->name, request->node) == 0) {
            return refuse(error, HOLDFAST_ERROR_EXISTS, "node: there is a node '%s' already: choose another name",
                          node->name);
        }
        if (!join_address_free(node, request->ring0, "ring0", error)) {
            return FALSE;
        }
    }
    return join_enough_present(admission, nodes, nodes->len / 2 + 1, error);
}

static gboolean witness_add(JoinAdmission *admission, const GPtrArray *nodes, GError **error)
{
    const JoinRequest *request = &admission->request;
    if (!witness_fits(admission, nodes, error)) {
        return FALSE;
    }
    guint voters = 0;
    for (guint i = 0; i < nodes->len; i++) {
        voters += ((const Node *) nodes->pdata[i])->voter;
    }
    Witness made = {
        .version = 1, .name = request->node, .address = request->ring0, .voter = voters < CLUSTER_VOTERS_MAX};
    g_autofree char *text = object_to_text(&witness_type, &made);
    g_autoptr(StoreTxn) txn = store_txn_new();
    join_txn_bind_token(admission, txn, request->node);
    store_txn_if_revision(txn, WITNESS_KEY, 0);
    store_txn_put(txn, WITNESS_KEY, text, 0);
    if (!store_txn_commit(admission->store, txn, &admission->token_revision, error)) {
        return FALSE;
    }
    setup_progress(admission->context, "join: witness '%s' (%s) was let in", made.name, made.address);
    admission->node = node_like(&made);
    return TRUE;
}

/* A witness that began before: the same token, name and address. */
static gboolean witness_resume(JoinAdmission *admission, const Witness *present, GError **error)
{
    const JoinRequest *request = &admission->request;
    if (strcmp(present->name, request->node) != 0 || g_strcmp0(admission->token.node, request->node) != 0) {
        return refuse(error, HOLDFAST_ERROR_EXISTS,
                      "role: the cluster has a witness already, '%s': remove it first (`holdfast node remove %s`)",
                      present->name, present->name);
    }
    if (strcmp(present->address, request->ring0) != 0) {
        return refuse(error, HOLDFAST_ERROR_INVALID,
                      "ring0: witness '%s' began to join as %s: use the same address, or remove it and join anew",
                      present->name, present->address);
    }
    admission->node = node_like(present);
    setup_progress(admission->context, "join: witness '%s' goes on with its join", present->name);
    return TRUE;
}

gboolean join_witness_admit(JoinAdmission *admission, const GPtrArray *nodes, GError **error)
{
    g_autoptr(Witness) present = NULL;
    if (!witness_load(admission->store, &present, NULL, error)) {
        return FALSE;
    }
    return present ? witness_resume(admission, present, error) : witness_add(admission, nodes, error);
}

static gboolean set_ready(Store *store, Witness *witness, gboolean ready, gint64 *revision, GError **error)
{
    if (witness->ready == ready) {
        return TRUE;
    }
    witness->ready = ready;
    g_autofree char *text = object_to_text(&witness_type, witness);
    return store_put(store, WITNESS_KEY, text, *revision, 0, revision, error);
}

gboolean join_witness_ready(JoinAdmission *admission, GError **error)
{
    g_autoptr(Witness) witness = NULL;
    gint64 revision = 0;
    if (!witness_load(admission->store, &witness, &revision, error)) {
        return FALSE;
    }
    if (!witness || strcmp(witness->name, admission->node->name) != 0) {
        return refuse(error, HOLDFAST_ERROR_REFUSED, "role: witness '%s' was removed meanwhile", admission->node->name);
    }
    return set_ready(admission->store, witness, TRUE, &revision, error);
}

static gboolean all_nodes_present(const SetupContext *context, const GPtrArray *nodes, const char *name, GError **error)
{
    MembershipView view = {0};
    if (!context->membership(MEMBERSHIP_TIMEOUT_MS, &view, error)) {
        return FALSE;
    }
    for (guint i = 0; i < nodes->len; i++) {
        const Node *node = nodes->pdata[i];
        if (!membership_view_has(&view, (guint32) node->id)) {
            return refuse(
                error, HOLDFAST_ERROR_REFUSED,
                "name: '%s' is the witness and node '%s' is not online: without the witness the rest would have "
                "no majority; bring the node back first",
                name, node->name);
        }
    }
    return TRUE;
}

static gboolean remove_member(const SetupContext *context, Store *store, const Witness *witness, GError **error)
{
    g_autofree char *peer_url = etcd_conf_peer_url(witness->address, context->etcd_peer_port);
    g_autoptr(GPtrArray) members = store_members(store, error);
    for (guint i = 0; members && i < members->len; i++) {
        const StoreMember *member = members->pdata[i];
        if (g_strv_contains((const char *const *) member->peer_urls, peer_url)) {
            return store_member_remove(store, member->id, error);
        }
    }
    return members != NULL;
}

/* etcd refuses for the first seconds after a member was started or a leader was elected. */
static gboolean remove_member_soon(const SetupContext *context, Store *store, const Witness *witness, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + REMOVE_WAIT_MS * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (remove_member(context, store, witness, &problem)) {
            return TRUE;
        }
        if (g_get_monotonic_time() > deadline_us) {
            g_propagate_prefixed_error(
                error, g_steal_pointer(&problem),
                "witness '%s' does not count in corosync any more, but etcd keeps it yet; repeat "
                "the removal: ",
                witness->name);
            return FALSE;
        }
        g_usleep((gulong) context->poll_ms * 1000);
    }
}

/* Corosync first: while the vote is still there each node switches to counting without it. */
static gboolean take_out(const SetupContext *context, Store *store, Witness *witness, gint64 revision,
                         const GPtrArray *nodes, GError **error)
{
    g_autoptr(ClusterConfig) config = cluster_config_load(store, error);
    if (!config || !set_ready(store, witness, FALSE, &revision, error) ||
        !corosync_conf_reconcile(context->prefix, context->runner, config, nodes, witness, context->etcd_client_port,
                                 NULL, error) ||
        !remove_member_soon(context, store, witness, error) || !store_delete(store, WITNESS_KEY, revision, error)) {
        return FALSE;
    }
    setup_progress(context, "witness '%s' was removed", witness->name);
    return TRUE;
}

gboolean witness_remove(const SetupContext *context, Store *store, const char *name, GError **error)
{
    g_autoptr(Witness) witness = NULL;
    gint64 revision = 0, lease = 0, lock_revision = 0;
    g_autofree char *holder = g_strconcat("removal of ", name, NULL);
    if (!witness_load(store, &witness, &revision, error)) {
        return FALSE;
    }
    if (!witness || strcmp(witness->name, name) != 0) {
        return refuse(error, HOLDFAST_ERROR_NOT_FOUND, "name: there is no node or witness '%s'", name);
    }
    g_autoptr(GPtrArray) nodes = join_nodes_load(store, error);
    if (!nodes || !all_nodes_present(context, nodes, name, error) ||
        !join_lock_take(store, holder, &lease, &lock_revision, error)) {
        return FALSE;
    }
    gboolean ok = take_out(context, store, witness, revision, nodes, error);
    store_lease_revoke(store, lease, NULL);
    return ok;
}
