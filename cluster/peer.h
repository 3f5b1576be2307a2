/* SPDX-License-Identifier: Apache-2.0
 * Calls between the holdfastd of the nodes over a corosync CPG group ("holdfast"): ordered, encrypted, and a peer's
 * death is a membership event that fails its calls at once. Small messages only (64 KiB). Wire format: one JSON object
 * with "v":1 per message. */
#pragma once

#include <glib.h>
#include <jansson.h>

typedef struct Peer Peer;

/* Called in the main context for every call addressed to this node. Answer now or later, from any thread, exactly once,
 * with peer_reply(). `arguments` is borrowed. */
typedef struct PeerCall PeerCall;
typedef struct {
    void (*on_call)(PeerCall *call, const char *verb, json_t *arguments, gpointer user_data);
    /* The daemons present now changed (node ids). */
    void (*on_members)(const guint32 *nodes, guint n_nodes, gpointer user_data);
} PeerEvents;

Peer *peer_new(GMainContext *context, guint32 own_node_id, const PeerEvents *events, gpointer user_data);
void peer_free(Peer *peer);

/* Result (steals the reference; NULL allowed) or error. */
void peer_reply(PeerCall *call, json_t *result, const GError *error);

/* Call another node and wait; must not be called from the main context's thread. Error: the remote's error, UNAVAILABLE
 * when its daemon is not in the group or leaves it before answering, TIMEOUT. Caller owns the result. A call to oneself
 * goes the same way. */
json_t *peer_call(Peer *peer, guint32 node_id, const char *verb, json_t *arguments /* borrowed */, int timeout_ms,
                  GError **error);
gboolean peer_is_present(Peer *peer, guint32 node_id);
