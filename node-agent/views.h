/* SPDX-License-Identifier: Apache-2.0
 * Objects as the API shows them: what was asked for, what is, and how sure that is. Secrets are left out. */
#pragma once

#include "node-agent/daemon.h"

/* `pacemaker` may be NULL (not running here): states are then "unknown". Callers own the results. */
json_t *view_node(Daemon *daemon, const Node *node, const PacemakerStatus *pacemaker);
json_t *view_guest(Daemon *daemon, const Guest *guest, gint64 revision, const PacemakerStatus *pacemaker);
json_t *view_volume(Daemon *daemon, const Guest *guest, const Volume *volume);
json_t *view_fence(const FenceDevice *device);
json_t *view_status(Daemon *daemon);
/* Plain documents: image, network. */
json_t *view_document(const JsonStruct *type, gconstpointer object);
