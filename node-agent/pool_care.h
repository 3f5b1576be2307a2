/* SPDX-License-Identifier: Apache-2.0
 * This node's thin pool: how full it is, the reserve, and copies that dropped out because it was full. */
#pragma once

#include "node-agent/daemon.h"
#include "storage/lost_copy.h"

void pool_care_begin(Daemon *daemon);
/* For tests: frees what begin made. */
void pool_care_end(Daemon *daemon);
/* "pool": one look, and at most one step. */
void pool_care_look(const char *key, gpointer user_data);
/* The same at a given time of the monotonic clock, for tests. */
void pool_care_look_at(Daemon *daemon, gint64 now_us);

/* The pool's part of the node's status. While the disk hangs nothing is asked, and the last figures stand. */
gboolean pool_care_fill_status(Daemon *daemon, NodeStatus *status, GError **error);
/* Notes of failed writes of `guest` here against the pool: a full one is blamed for those since it had room, and with
 * room again they forbid nothing any more. *lost is looked at again when something changed. Any thread. */
void pool_care_notes(Daemon *daemon, const char *guest, LostCopy *lost);
