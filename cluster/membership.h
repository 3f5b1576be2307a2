/* SPDX-License-Identifier: Apache-2.0
 * Corosync's membership and quorum as events (libquorum), reconnecting with back-off when corosync restarts. */
#pragma once

#include <glib.h>

typedef struct Membership Membership;

typedef struct {
    gboolean connected; /* to corosync; everything below is meaningless without */
    gboolean quorate;
    guint64 ring_sequence;
    guint n_nodes;
    guint32 nodes[64]; /* corosync node ids, members now */
} MembershipView;

/* Runs in `context` of the caller's thread. on_change is called for every change, also for lost and new connections. */
Membership *membership_new(GMainContext *context, void (*on_change)(const MembershipView *view, gpointer user_data),
                           gpointer user_data);
void membership_free(Membership *membership);
const MembershipView *membership_view(const Membership *membership);
gboolean membership_view_has(const MembershipView *view, guint32 node_id);

/* One-shot, blocking, for programs without a main loop (OCF agent): UNAVAILABLE when corosync does not answer within
 * timeout_ms. */
gboolean membership_query(int timeout_ms, MembershipView *ret, GError **error);
