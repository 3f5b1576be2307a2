/* SPDX-License-Identifier: Apache-2.0
 * An etcd that only the calling process reaches, over a data folder that nobody else uses: what is made of a store
 * before anybody may see it. */
#pragma once

#include "cluster/node_config.h"
#include "cluster/store.h"
#include "node-agent/setup/context.h"

#include <gio/gio.h>

typedef struct {
    GSubprocess *process;
    Store *store;
    char *socket; /* "/.../etcd.sock:0" */
} StorePrivate;

void store_private_clear(StorePrivate *etcd); /* kills what still runs */
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StorePrivate, store_private_clear)

/* Run etcd over `folder`/`data` with its sockets in `folder`, until it answers. `alone`: --force-new-cluster, which
 * drops all other members from a data folder of several. It dies with this process. */
gboolean store_private_start(const SetupContext *context, const NodeConfig *config, const char *folder,
                             const char *data, gboolean alone, StorePrivate *ret, GError **error);
/* In good order; everything it acknowledged is on the disk anyway. */
gboolean store_private_stop(const SetupContext *context, StorePrivate *etcd, GError **error);
