/* SPDX-License-Identifier: Apache-2.0
 * What letting one node in changes in the store, and what it is told. Every step can be repeated after a crash of
 * either side: the token is bound to the node's name by the transaction that adds the node, and deleted only when the
 * node says it is done. */
#pragma once

#include "cluster/node_config.h"
#include "cluster/objects.h"
#include "cluster/store.h"
#include "node-agent/setup/context.h"

#include <gio/gio.h>

typedef struct {
    gint64 version; /* 1 */
    char *secret;
    char *node; /* NULL: not used yet */
} JoinToken;

extern const JsonStruct join_token_type;

typedef struct {
    char *agent;       /* NULL: none given */
    char **parameters; /* "name=value" */
} JoinFence;

typedef struct {
    char *proof;
    char *node, *ring0, *ring1, *csr;
    gboolean witness; /* no node: it votes only */
    JoinFence fence;
} JoinRequest;

extern const JsonStruct join_fence_type, join_request_type;

typedef struct {
    const SetupContext *context;
    Store *store;
    const NodeConfig *self;
    GCancellable *cancellable; /* ends the waits */
    JoinToken token;
    char *token_key;
    gint64 token_revision, token_lease;
    JoinRequest request;
    Node *node;        /* as stored; a witness's name, address and voter, which is no node */
    gint64 lock_lease; /* 0: not held */
    gint64 lock_revision;
} JoinAdmission;

void join_admission_clear(JoinAdmission *admission); /* lets go of the lock */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(JoinAdmission, join_admission_clear)

/* Load the token. DENIED: there is none (never was, used or expired). */
gboolean join_admission_load(JoinAdmission *admission, const char *token_id, GError **error);

/* With the request decoded and its proof checked: take the lock, add node and fence device, follow with corosync.conf
 * here. BUSY: another join runs. *ret_bundle: the answer; caller owns. */
gboolean join_admit(JoinAdmission *admission, json_t **ret_bundle, GError **error);
gboolean join_admit_add_member(JoinAdmission *admission, GError **error);
gboolean join_admit_promote(JoinAdmission *admission, GError **error);
gboolean join_admit_finish(JoinAdmission *admission, GError **error);

/* The lock alone, for whoever else changes the membership. `holder` is told to those who find it taken. */
gboolean join_lock_take(Store *store, const char *holder, gint64 *ret_lease, gint64 *ret_revision, GError **error);
/* All nodes of the store, array of Node. Caller unrefs. */
GPtrArray *join_nodes_load(Store *store, GError **error);

/* Shared with the witness's join. */
gboolean join_address_free(const Node *other, const char *address, const char *field, GError **error);
/* Quorate, at least `needed` of `nodes` in the membership, and nobody else half in. UNAVAILABLE: not now. */
gboolean join_enough_present(const JoinAdmission *admission, const GPtrArray *nodes, guint needed, GError **error);
/* Conditions (lock and token are still ours) and the token's binding to `name`. */
void join_txn_bind_token(JoinAdmission *admission, StoreTxn *txn, const char *name);
