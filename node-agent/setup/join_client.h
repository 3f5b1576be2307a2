/* SPDX-License-Identifier: Apache-2.0
 * The joiner's half of the join protocol (node-agent/join_wire.h). Blocking. */
#pragma once

#include "node-agent/join_bundle.h"

typedef struct JoinClient JoinClient;

/* Connect, check that the other side knows the token's secret, prove ours. UNAVAILABLE: nobody answers there. DENIED:
 * token refused, or the other side could not prove itself (then nothing secret was sent). */
JoinClient *join_client_open(const char *address, int port, const char *token, GError **error);
void join_client_free(JoinClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JoinClient, join_client_free)

/* Ask to be let in. `request`->proof is filled in here. Caller frees the bundle. */
JoinBundle *join_client_request(JoinClient *client, const JoinRequest *request, GError **error);
void join_bundle_free(JoinBundle *bundle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JoinBundle, join_bundle_free)

/* Say `word` ("ready", "started", "done", "ping") and wait for its answer. */
gboolean join_client_say(JoinClient *client, const char *word, GError **error);
