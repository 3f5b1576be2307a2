/* SPDX-License-Identifier: Apache-2.0
 * Taking a dead or switched-off node out of the cluster for good. */
#pragma once

#include "cluster/store.h"
#include "node-agent/setup/context.h"

/* Remove `node`: etcd member, node, fence device, images' copies, this node's corosync.conf (the others follow by their
 * watch), Pacemaker's memory of it. `self` is this node; `online` what corosync says of `node`. Blocking; repeatable
 * after any failure. NOT_FOUND: no such node. REFUSED: it is online, or holds replicas of guests or the only copy of an
 * image (the text names them). BUSY: another membership change runs. `gone`: it never comes back, so guests that are
 * being deleted do not wait for it. */
gboolean node_remove(const SetupContext *context, Store *store, const char *self, const char *node, gboolean online,
                     gboolean gone, GError **error);
