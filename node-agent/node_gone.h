/* SPDX-License-Identifier: Apache-2.0
 * Removal of a node that is off for good and holds replicas (operation.h has its driver, drive_node_remove()). */
#pragma once

#include "node-agent/daemon.h"
#include "storage/record_codec.h"

/* Why the guest's replica on `node` cannot be built anew just now, for people; NULL: it can. Pure. `record` NULL: not
 * known. Caller frees. */
char *node_gone_obstacle(const Guest *guest, const Record *record, const char *node);
/* Whether `node` can be given up: REFUSED while it may be running, or with every guest that stands against it. Nothing
 * is done. */
gboolean node_gone_check(Daemon *daemon, const char *node, GError **error);
