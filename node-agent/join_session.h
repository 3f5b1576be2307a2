/* SPDX-License-Identifier: Apache-2.0
 * The server's half of one join conversation. */
#pragma once

#include "cluster/node_config.h"
#include "cluster/store.h"
#include "node-agent/join_wire.h"
#include "node-agent/setup/context.h"

typedef struct {
    const SetupContext *context;
    Store *store;
    const NodeConfig *self;
    GTlsCertificate *certificate; /* the one this connection showed */
    GCancellable *cancellable;
    void (*on_trusted)(gpointer user_data); /* the joiner proved the token: it gets more time */
    gpointer user_data;
} JoinSession;

/* Blocking. Errors have been told to the joiner already. `wire`->line_max_bytes is raised once the joiner is trusted.
 */
gboolean join_session_run(const JoinSession *session, JoinWire *wire, GError **error);
