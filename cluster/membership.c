/* SPDX-License-Identifier: Apache-2.0
 * Corosync's membership and quorum through libquorum, model v0: one notification carries quorate flag, ring sequence
 * and members, so the three always belong together. That matters: the fence-peer rule asks for "a quorate membership
 * without the peer", and quorum of one membership with the members of another would be a lie. */
#include "cluster/membership.h"

#include "cluster/corosync_link.h"
#include "cluster/membership_view.h"
#include "common/error.h"

#include <corosync/quorum.h>
#include <poll.h>

struct Membership {
    CorosyncLink *link;
    quorum_handle_t handle;
    MembershipView view;
    void (*on_change)(const MembershipView *view, gpointer user_data);
    gpointer user_data;
};

void membership_view_set(MembershipView *view, gboolean quorate, guint64 ring_sequence, const guint32 *nodes,
                         guint n_nodes)
{
    *view = (MembershipView){.connected = TRUE, .quorate = quorate, .ring_sequence = ring_sequence};
    view->n_nodes = MIN(n_nodes, G_N_ELEMENTS(view->nodes));
    for (guint i = 0; i < view->n_nodes; i++) {
        view->nodes[i] = nodes[i];
    }
}

gboolean membership_view_has(const MembershipView *view, guint32 node_id)
{
    for (guint i = 0; view->connected && i < view->n_nodes; i++) {
        if (view->nodes[i] == node_id) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Start tracking and return the descriptor to poll. `owner` is handed to the callback through the handle's context. */
static cs_error_t quorum_open(quorum_handle_t *ret_handle, quorum_notification_fn_t on_notify, void *owner, int *ret_fd)
{
    quorum_callbacks_t callbacks = {.quorum_notify_fn = on_notify};
    uint32_t type = 0;
    cs_error_t code = quorum_initialize(ret_handle, &callbacks, &type);
    if (code != CS_OK) {
        return code;
    }
    code = quorum_context_set(*ret_handle, owner);
    if (code == CS_OK) {
        code = quorum_fd_get(*ret_handle, ret_fd);
    }
    if (code == CS_OK) {
        code = quorum_trackstart(*ret_handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
    }
    if (code != CS_OK) {
        quorum_finalize(*ret_handle);
    }
    return code;
}

static void on_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring_sequence, uint32_t n_nodes,
                      uint32_t *nodes)
{
    const void *owner = NULL;
    if (quorum_context_get(handle, &owner) != CS_OK) {
        return;
    }
    Membership *membership = (Membership *) owner;
    membership_view_set(&membership->view, quorate != 0, ring_sequence, nodes, n_nodes);
    membership->on_change(&membership->view, membership->user_data);
}

static gboolean service_connect(gpointer user_data, int *ret_fd)
{
    Membership *membership = user_data;
    return quorum_open(&membership->handle, on_quorum, membership, ret_fd) == CS_OK;
}

static gboolean service_dispatch(gpointer user_data)
{
    Membership *membership = user_data;
    cs_error_t code = quorum_dispatch(membership->handle, CS_DISPATCH_ALL);
    return code == CS_OK || code == CS_ERR_TRY_AGAIN;
}

static void service_disconnect(gpointer user_data)
{
    Membership *membership = user_data;
    quorum_finalize(membership->handle);
    membership->view = (MembershipView){.connected = FALSE};
    if (membership->link) { /* not while freeing */
        membership->on_change(&membership->view, membership->user_data);
    }
}

static const CorosyncService membership_service = {
    .connect = service_connect,
    .dispatch = service_dispatch,
    .disconnect = service_disconnect,
};

Membership *membership_new(GMainContext *context, void (*on_change)(const MembershipView *view, gpointer user_data),
                           gpointer user_data)
{
    Membership *membership = g_new0(Membership, 1);
    membership->on_change = on_change;
    membership->user_data = user_data;
    membership->link = corosync_link_new(context, &membership_service, membership);
    return membership;
}

void membership_free(Membership *membership)
{
    if (membership) {
        corosync_link_free(g_steal_pointer(&membership->link));
        g_free(membership);
    }
}

const MembershipView *membership_view(const Membership *membership)
{
    return &membership->view;
}

/* The one-shot query. libqb waits without limit for a corosync that accepts but does not answer (stopped, swapped out),
 * so the asking is done in a thread that is abandoned at the deadline; the program that asked is about to end anyway.
 */
typedef struct {
    GMutex lock;
    GCond done_cond;
    gint references;
    gboolean done, got_view; /* under lock */
    cs_error_t code;
    MembershipView view;
} Query;

static void query_unref(Query *query)
{
    if (g_atomic_int_dec_and_test(&query->references)) {
        g_mutex_clear(&query->lock);
        g_cond_clear(&query->done_cond);
        g_free(query);
    }
}

static void on_query_quorum(quorum_handle_t handle, uint32_t quorate, uint64_t ring_sequence, uint32_t n_nodes,
                            uint32_t *nodes)
{
    const void *owner = NULL;
    if (quorum_context_get(handle, &owner) == CS_OK) {
        Query *query = (Query *) owner;
        membership_view_set(&query->view, quorate != 0, ring_sequence, nodes, n_nodes);
        query->got_view = TRUE;
    }
}

static gpointer query_thread(gpointer data)
{
    Query *query = data;
    quorum_handle_t handle = 0;
    int fd = -1;
    cs_error_t code = quorum_open(&handle, on_query_quorum, query, &fd);
    if (code == CS_OK) {
        while (code == CS_OK && !query->got_view) {
            struct pollfd ready = {.fd = fd, .events = POLLIN};
            poll(&ready, 1, -1);
            code = quorum_dispatch(handle, CS_DISPATCH_ALL);
            code = code == CS_ERR_TRY_AGAIN ? CS_OK : code;
        }
        quorum_finalize(handle);
    }
    g_mutex_lock(&query->lock);
    query->code = code;
    query->done = TRUE;
    g_cond_signal(&query->done_cond);
    g_mutex_unlock(&query->lock);
    query_unref(query);
    return NULL;
}

gboolean membership_query(int timeout_ms, MembershipView *ret, GError **error)
{
    Query *query = g_new0(Query, 1);
    g_mutex_init(&query->lock);
    g_cond_init(&query->done_cond);
    query->references = 2;
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    g_thread_unref(g_thread_new("membership", query_thread, query));
    g_mutex_lock(&query->lock);
    while (!query->done && g_cond_wait_until(&query->done_cond, &query->lock, deadline_us)) {
    }
    gboolean done = query->done;
    cs_error_t code = query->code;
    if (done && code == CS_OK) {
        *ret = query->view;
    }
    g_mutex_unlock(&query->lock);
    query_unref(query);
    if (!done) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                    "corosync did not answer within %d ms; is it running?", timeout_ms);
        return FALSE;
    }
    return code == CS_OK || corosync_error_set(error, code, "ask for membership and quorum");
}
