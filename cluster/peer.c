/* SPDX-License-Identifier: Apache-2.0
 * Peer calls over a CPG group.
 *
 * Threads: libcpg is touched by the main context's thread only. A worker that calls puts its message into the outbox
 * and waits on a condition; a source in the main context sends. Everything shared (outbox, pending calls, members) is
 * under one mutex. What keeps a call from waiting in vain: CPG delivers messages and departures in one total order, so
 * when a node's departure is seen here, an answer from its former life can no longer arrive, and all its calls can be
 * failed at once. */
#include "cluster/peer.h"

#include "cluster/corosync_link.h"
#include "cluster/peer_json.h"
#include "common/error.h"

#include <corosync/cpg.h>
#include <string.h>
#include <sys/uio.h>

#define GROUP_NAME "holdfast"
#define OUTBOX_MAX_CALLS 1024u /* waiting for corosync's flow control; more are refused */
#define FLOW_RETRY_MS 10u

/* One call that waits for its answer. Owned by the waiting thread; listed in Peer.pending until it is done or given up.
 */
typedef struct {
    guint32 node;
    gboolean done;
    json_t *result;
    GError *error;
} Pending;

struct Peer {
    gint references; /* the owner and every PeerCall not answered yet */
    GMainContext *context;
    guint32 own_node_id;
    PeerEvents events;
    gpointer user_data;
    CorosyncLink *link;

    GMutex lock;
    GCond answered;       /* some pending call is done */
    GHashTable *pending;  /* gint64 seq -> Pending (borrowed) */
    GQueue outbox;        /* of GBytes */
    GSource *send_source; /* scheduled sending, or NULL */
    GArray *members;      /* of guint32, the nodes with a daemon in the group */
    gboolean connected, closed;
    gint64 next_seq;

    cpg_handle_t handle; /* main context's thread only */
};

struct PeerCall {
    Peer *peer;
    guint32 from;
    gint64 seq;
};

static void peer_unref(Peer *peer)
{
    if (!g_atomic_int_dec_and_test(&peer->references)) {
        return;
    }
    g_hash_table_unref(peer->pending);
    g_array_unref(peer->members);
    g_queue_clear_full(&peer->outbox, (GDestroyNotify) g_bytes_unref);
    g_main_context_unref(peer->context);
    g_mutex_clear(&peer->lock);
    g_cond_clear(&peer->answered);
    g_free(peer);
}

/* --- under lock
 * ---------------------------------------------------------------------------------------------------------- */

static void pending_finish(Peer *peer, Pending *pending, json_t *result, GError *error)
{
    pending->done = TRUE;
    pending->result = result;
    pending->error = error;
    g_cond_broadcast(&peer->answered);
}

/* Fail every waiting call to `node`, 0 for all. */
static void pending_fail(Peer *peer, guint32 node, const char *why)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, peer->pending);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Pending *pending = value;
        if (node == 0 || pending->node == node) {
            g_hash_table_iter_remove(&iter);
            pending_finish(peer, pending, NULL,
                           g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "node %u: %s", pending->node, why));
        }
    }
}

static gboolean members_has(const Peer *peer, guint32 node)
{
    for (guint i = 0; i < peer->members->len; i++) {
        if (g_array_index(peer->members, guint32, i) == node) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean on_send(gpointer user_data);

static void send_schedule(Peer *peer, guint delay_ms)
{
    if (peer->send_source || peer->closed) {
        return;
    }
    /* Never g_main_context_invoke(): before the loop runs it would send from the calling worker. */
    peer->send_source = delay_ms ? g_timeout_source_new(delay_ms) : g_idle_source_new();
    g_source_set_priority(peer->send_source, G_PRIORITY_DEFAULT);
    g_source_set_callback(peer->send_source, on_send, peer, NULL);
    g_source_attach(peer->send_source, peer->context);
}

/* --- sending
 * --------------------------------------------------------------------------------------------------------------- */

/* Under lock, main context's thread. FALSE: corosync's queues are full, try later. */
static gboolean outbox_send(Peer *peer)
{
    while (peer->connected && !g_queue_is_empty(&peer->outbox)) {
        GBytes *message = g_queue_peek_head(&peer->outbox);
        gsize length = 0;
        gconstpointer data = g_bytes_get_data(message, &length);
        struct iovec part = {.iov_base = (void *) data, .iov_len = length};
        if (cpg_mcast_joined(peer->handle, CPG_TYPE_AGREED, &part, 1) == CS_ERR_TRY_AGAIN) {
            return FALSE;
        }
        /* Any other failure is a dead connection: the descriptor reports it, and disconnecting fails all calls. */
        g_bytes_unref(g_queue_pop_head(&peer->outbox));
    }
    return TRUE;
}

static gboolean on_send(gpointer user_data)
{
    Peer *peer = user_data;
    g_mutex_lock(&peer->lock);
    g_clear_pointer(&peer->send_source, g_source_unref);
    if (!outbox_send(peer)) {
        send_schedule(peer, FLOW_RETRY_MS);
    }
    g_mutex_unlock(&peer->lock);
    return G_SOURCE_REMOVE;
}

/* --- what corosync says, in the main context's thread
 * --------------------------------------------------------------------------- */

static Peer *peer_of(cpg_handle_t handle)
{
    void *peer = NULL;
    return cpg_context_get(handle, &peer) == CS_OK ? peer : NULL;
}

static void deliver_reply(Peer *peer, PeerMessage *message)
{
    g_mutex_lock(&peer->lock);
    Pending *pending = g_hash_table_lookup(peer->pending, &message->seq);
    if (pending && pending->node == message->from) {
        g_hash_table_remove(peer->pending, &message->seq);
        pending_finish(peer, pending, g_steal_pointer(&message->result), g_steal_pointer(&message->error));
    }
    g_mutex_unlock(&peer->lock);
}

static void deliver_call(Peer *peer, const PeerMessage *message)
{
    PeerCall *call = g_new0(PeerCall, 1);
    g_atomic_int_inc(&peer->references);
    call->peer = peer;
    call->from = message->from;
    call->seq = message->seq;
    peer->events.on_call(call, message->verb, message->args, peer->user_data);
}

static void on_deliver(cpg_handle_t handle, const struct cpg_name *group G_GNUC_UNUSED, uint32_t node,
                       uint32_t pid G_GNUC_UNUSED, void *data, size_t length)
{
    Peer *peer = peer_of(handle);
    g_auto(PeerMessage) message = {0};
    /* A message that does not decode is from a newer daemon or a fault of ours; its caller will time out. The sender
     * corosync names is authenticated, the one in the message must agree with it. */
    if (!peer || !peer_message_decode(data, length, &message, NULL) || message.to != peer->own_node_id ||
        message.from != node) {
        return;
    }
    if (message.is_call) {
        deliver_call(peer, &message);
    } else {
        deliver_reply(peer, &message);
    }
}

static void members_replace(Peer *peer, const struct cpg_address *members, gsize n_members)
{
    g_array_set_size(peer->members, 0);
    for (gsize i = 0; i < n_members; i++) {
        if (!members_has(peer, members[i].nodeid)) {
            g_array_append_val(peer->members, members[i].nodeid);
        }
    }
}

static void on_confchg(cpg_handle_t handle, const struct cpg_name *group G_GNUC_UNUSED,
                       const struct cpg_address *members, size_t n_members, const struct cpg_address *left,
                       size_t n_left, const struct cpg_address *joined G_GNUC_UNUSED, size_t n_joined G_GNUC_UNUSED)
{
    Peer *peer = peer_of(handle);
    if (!peer) {
        return;
    }
    g_mutex_lock(&peer->lock);
    members_replace(peer, members, n_members);
    for (size_t i = 0; i < n_left; i++) {
        pending_fail(peer, left[i].nodeid, "its holdfastd left the cluster before answering");
    }
    guint n_nodes = peer->members->len;
    g_autofree guint32 *nodes = g_memdup2(peer->members->data, n_nodes * sizeof(guint32));
    g_mutex_unlock(&peer->lock);
    if (peer->events.on_members) {
        peer->events.on_members(nodes, n_nodes, peer->user_data);
    }
}

/* --- connection
 * ------------------------------------------------------------------------------------------------------------------ */

static cs_error_t group_open(Peer *peer, int *ret_fd)
{
    cpg_callbacks_t callbacks = {.cpg_deliver_fn = on_deliver, .cpg_confchg_fn = on_confchg};
    cs_error_t code = cpg_initialize(&peer->handle, &callbacks);
    if (code != CS_OK) {
        return code;
    }
    struct cpg_name group = {.length = sizeof(GROUP_NAME) - 1, .value = GROUP_NAME};
    code = cpg_context_set(peer->handle, peer);
    if (code == CS_OK) {
        code = cpg_fd_get(peer->handle, ret_fd);
    }
    if (code == CS_OK) {
        code = cpg_join(peer->handle, &group); /* TRY_AGAIN during a membership change: the link retries */
    }
    if (code != CS_OK) {
        cpg_finalize(peer->handle);
    }
    return code;
}

static gboolean service_connect(gpointer user_data, int *ret_fd)
{
    Peer *peer = user_data;
    if (group_open(peer, ret_fd) != CS_OK) {
        return FALSE;
    }
    g_mutex_lock(&peer->lock);
    peer->connected = TRUE;
    g_mutex_unlock(&peer->lock);
    return TRUE;
}

static gboolean service_dispatch(gpointer user_data)
{
    Peer *peer = user_data;
    cs_error_t code = cpg_dispatch(peer->handle, CS_DISPATCH_ALL);
    return code == CS_OK || code == CS_ERR_TRY_AGAIN;
}

static void service_disconnect(gpointer user_data)
{
    Peer *peer = user_data;
    cpg_finalize(peer->handle);
    g_mutex_lock(&peer->lock);
    peer->connected = FALSE;
    g_array_set_size(peer->members, 0);
    g_queue_clear_full(&peer->outbox, (GDestroyNotify) g_bytes_unref);
    pending_fail(peer, 0, "this node lost its connection to corosync while waiting for the answer");
    gboolean tell = !peer->closed;
    g_mutex_unlock(&peer->lock);
    if (tell && peer->events.on_members) {
        peer->events.on_members(NULL, 0, peer->user_data);
    }
}

static const CorosyncService peer_service = {
    .connect = service_connect,
    .dispatch = service_dispatch,
    .disconnect = service_disconnect,
};

Peer *peer_new(GMainContext *context, guint32 own_node_id, const PeerEvents *events, gpointer user_data)
{
    Peer *peer = g_new0(Peer, 1);
    peer->references = 1;
    peer->context = g_main_context_ref(context ? context : g_main_context_default());
    peer->own_node_id = own_node_id;
    peer->events = *events;
    peer->user_data = user_data;
    g_mutex_init(&peer->lock);
    g_cond_init(&peer->answered);
    peer->pending = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_queue_init(&peer->outbox);
    peer->members = g_array_new(FALSE, FALSE, sizeof(guint32));
    /* A random start: an answer meant for a previous life of this daemon must not match a call of this one. */
    peer->next_seq = ((gint64) g_random_int() << 24) + 1;
    peer->link = corosync_link_new(peer->context, &peer_service, peer);
    return peer;
}

void peer_free(Peer *peer)
{
    if (!peer) {
        return;
    }
    g_mutex_lock(&peer->lock);
    peer->closed = TRUE;
    if (peer->send_source) {
        g_source_destroy(peer->send_source);
        g_clear_pointer(&peer->send_source, g_source_unref);
    }
    g_mutex_unlock(&peer->lock);
    corosync_link_free(g_steal_pointer(&peer->link));
    peer_unref(peer);
}

/* --- calls and answers, any thread
 * ------------------------------------------------------------------------------------------------- */

void peer_reply(PeerCall *call, json_t *result, const GError *error)
{
    Peer *peer = call->peer;
    g_autoptr(json_t) owned = result;
    PeerMessage message = {.from = peer->own_node_id, .to = call->from, .seq = call->seq, .result = owned};
    message.error = error ? g_error_copy(error) : NULL;
    g_autoptr(GError) too_large = NULL;
    GBytes *bytes = peer_message_encode(&message, &too_large);
    if (!bytes) { /* the short text of this error always fits */
        g_clear_error(&message.error);
        message.error = g_steal_pointer(&too_large);
        bytes = peer_message_encode(&message, NULL);
    }
    g_clear_error(&message.error);
    g_mutex_lock(&peer->lock);
    if (peer->connected && !peer->closed) {
        g_queue_push_tail(&peer->outbox, bytes);
        send_schedule(peer, 0);
    } else { /* the caller saw us leave and has given up */
        g_bytes_unref(bytes);
    }
    g_mutex_unlock(&peer->lock);
    g_free(call);
    peer_unref(peer);
}

/* Under lock: may a call to this node be sent now? */
static gboolean call_admit(Peer *peer, guint32 node, const char *verb, GError **error)
{
    if (!peer->connected || peer->closed) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "%s on node %u: this node has no connection to corosync", verb, node);
        return FALSE;
    }
    if (!members_has(peer, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "%s on node %u: its holdfastd is not in the cluster now", verb, node);
        return FALSE;
    }
    if (g_queue_get_length(&peer->outbox) >= OUTBOX_MAX_CALLS) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "%s on node %u: %u messages already wait for corosync; the cluster network is congested", verb,
                    node, OUTBOX_MAX_CALLS);
        return FALSE;
    }
    return TRUE;
}

/* Under lock: wait until done or the deadline. */
static void call_wait(Peer *peer, gint64 seq, Pending *pending, const char *verb, gint64 deadline_us)
{
    while (!pending->done) {
        if (!g_cond_wait_until(&peer->answered, &peer->lock, deadline_us) && !pending->done) {
            g_hash_table_remove(peer->pending, &seq);
            pending_finish(peer, pending, NULL,
                           g_error_new(HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                                       "%s on node %u: no answer in time; it may still be carried out", verb,
                                       pending->node));
        }
    }
}

json_t *peer_call(Peer *peer, guint32 node_id, const char *verb, json_t *arguments, int timeout_ms, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    g_mutex_lock(&peer->lock);
    gint64 seq = peer->next_seq++;
    g_mutex_unlock(&peer->lock);
    PeerMessage message = {.is_call = TRUE, .from = peer->own_node_id, .to = node_id, .seq = seq};
    message.verb = (char *) verb;
    message.args = arguments;
    GBytes *bytes = peer_message_encode(&message, error);
    if (!bytes) {
        return NULL;
    }
    Pending pending = {.node = node_id};
    g_mutex_lock(&peer->lock);
    if (!call_admit(peer, node_id, verb, error)) {
        g_mutex_unlock(&peer->lock);
        g_bytes_unref(bytes);
        return NULL;
    }
    g_atomic_int_inc(&peer->references); /* peer_free() fails this call; the lock must outlive that */
    g_hash_table_insert(peer->pending, &seq, &pending);
    g_queue_push_tail(&peer->outbox, bytes);
    send_schedule(peer, 0);
    call_wait(peer, seq, &pending, verb, deadline_us);
    g_mutex_unlock(&peer->lock);
    peer_unref(peer);
    if (pending.error) {
        g_propagate_error(error, pending.error);
        return NULL;
    }
    return pending.result;
}

gboolean peer_is_present(Peer *peer, guint32 node_id)
{
    g_mutex_lock(&peer->lock);
    gboolean present = peer->connected && members_has(peer, node_id);
    g_mutex_unlock(&peer->lock);
    return present;
}
