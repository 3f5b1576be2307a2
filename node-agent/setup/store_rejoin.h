/* SPDX-License-Identifier: Apache-2.0
 * This node's voter out of the store, and in again: what the other nodes need around a rescue or restore. */
#pragma once

#include "node-agent/setup/context.h"

/* Stop etcd here for good; data folder and configuration are kept beside. REFUSED unless `confirm` is the cluster's
 * name. The node goes on through the other voters. */
gboolean store_leave(const SetupContext *context, const char *confirm, GError **error);

/* Make this node, which has none, a voter of the store that the voters file leads to: learner first, as with a join.
 * Repeatable. */
gboolean store_rejoin(const SetupContext *context, GError **error);
