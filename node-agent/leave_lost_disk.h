/* SPDX-License-Identifier: Apache-2.0
 * A guest whose own node lost its disk moves, live, to the node that serves it. */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/record.h"

/* Look whether the guest runs here on the other node's copy alone (by the record), and begin the migration there if
 * none is under way and none has failed in the last minutes. Errors are logged: the next round looks again. */
void leave_lost_disk(Daemon *daemon, const Manifest *manifest, const Record *record);

/* Whether `operation` is a move of the same guest that ended so lately that the next one has to wait. `now` in UTC.
 * Pure. */
gboolean leave_was_tried(const Operation *operation, const char *target, GDateTime *now);
