/* SPDX-License-Identifier: Apache-2.0
 * What holdfastd does for the store itself: snapshots on a schedule where a voter is, and standing still where the
 * store was rescued or restored (cluster/store_rescue.h). */
#pragma once

#include "cluster/store_snapshot.h"
#include "node-agent/daemon.h"

/* status/<node>/snapshot: leased. */
typedef struct {
    gint64 version; /* 1 */
    char *node;
    char *at;      /* of the newest, RFC 3339; NULL: there is none */
    gint64 time_s; /* the same since the epoch */
    char *error;   /* of the last attempt; NULL: it went well */
} StoreSnapshotStatus;
extern const JsonStruct store_snapshot_status_type;

/* "node" task only: take a snapshot when it is due, and start anew when the store is another than it was. */
void store_care_follow(Daemon *daemon);
/* Nothing that follows the store's list of nodes may be done: it may be older than the truth. */
gboolean store_care_is_held(Daemon *daemon);
/* Append what a person should know. */
void store_care_problems(Daemon *daemon, json_t *problems);
/* What is wrong with a voter's snapshots, or NULL. `status` NULL: nothing known. Pure. Caller frees. */
char *store_care_snapshot_problem(const char *node, const StoreSnapshotStatus *status, gint64 now_s);
/* When the next is due, in seconds from now; `newest_s` 0: none. A time to come is a clock that went back. Pure. */
gint64 store_care_due_s(gint64 newest_s, gint64 now_s);

/* This node's, for peers: {"node":..,"snapshots":[..]}; and take one now. Caller owns. */
json_t *store_care_list(Daemon *daemon);
json_t *store_care_take(Daemon *daemon, GError **error);
