/* SPDX-License-Identifier: Apache-2.0
 * The members' side of a join: holdfastd listens on ring0:7420 and lets nodes in that prove a one-time token. The
 * protocol is in join_wire.h. */
#pragma once

#include "cluster/node_config.h"
#include "cluster/store.h"
#include "node-agent/setup/context.h"

#define JOIN_TOKEN_PREFIX STORE_ROOT "token/"
#define JOIN_LOCK_KEY STORE_ROOT "lock/join" /* held by one join or removal at a time, leased */

typedef struct JoinServer JoinServer;

/* Listen on the node's ring0, context->join_port. Accepts in the caller's thread-default main context; every connection
 * has a thread of its own. `context`, `store` and `self` are borrowed and must outlive it. */
JoinServer *join_server_new(const SetupContext *context, Store *store, const NodeConfig *self, GError **error);
int join_server_port(const JoinServer *server);
/* Stops, cancels the connections and waits for their threads. Call it in the thread of join_server_new(). */
void join_server_free(JoinServer *server);

/* Make a one-time token that lives ttl_s (60..604800, else INVALID "ttl_s: ..."). *ret_token "ID.SECRET", shown once;
 * caller frees. */
gboolean join_token_create(Store *store, int ttl_s, char **ret_token, GError **error);
/* The same for a token chosen elsewhere (answers of the first node). Present already: kept as it is. */
gboolean join_token_put(Store *store, const char *token, int ttl_s, GError **error);
