/* SPDX-License-Identifier: Apache-2.0
 * Giving up an unfinished set-up, and telling what is set up. */
#pragma once

#include "node-agent/setup/context.h"

/* Stop etcd and corosync and remove what an unfinished init or join made; the storage stays. REFUSED on a finished
 * node. */
gboolean reset_run(const SetupContext *context, GError **error);

/* Text for people: node and cluster, or how far an unfinished set-up is. Caller frees. */
char *reset_status_text(const SetupContext *context, GError **error);
