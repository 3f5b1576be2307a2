/* SPDX-License-Identifier: Apache-2.0
 * Operations: the documents op/<id> through which people see long work, and the drivers that do it. */
#pragma once

#include "node-agent/daemon.h"

/* A new running operation; `node` drives it (NULL: the DC judges it by what it sees). Not stored yet. */
Operation *operation_new(const char *kind, const char *target, const char *argument, const char *node);
/* Add its creation to a transaction, so that request and operation are one. */
void operation_add_to(StoreTxn *txn, const Operation *operation);
gboolean operation_create(Daemon *daemon, const Operation *operation, GError **error);
Operation *operation_get(Daemon *daemon, const char *id);

/* Set the stage (printf) and progress; keeps a cancel request set meanwhile. Errors are logged only: progress is not
 * worth failing for. */
void operation_stage(Daemon *daemon, Operation *operation, const char *format, ...) G_GNUC_PRINTF(3, 4);
void operation_progress(Daemon *daemon, Operation *operation, gint64 done, gint64 total, const char *unit);
gboolean operation_cancel_requested(Daemon *daemon, const Operation *operation);
/* End it: error NULL = succeeded; CANCELLED = cancelled; else failed. */
void operation_end(Daemon *daemon, Operation *operation, const GError *error);

/* As JSON for the API. */
json_t *operation_view(const Operation *operation);

/* The drivers, one file each; they block in the worker pool and end the operation themselves. */
void drive_guest_migrate(Daemon *daemon, Operation *operation);
void drive_guest_stop(Daemon *daemon, Operation *operation);
void drive_node_standby(Daemon *daemon, Operation *operation);
void drive_image_import(Daemon *daemon, Operation *operation);
void drive_fence_prove(Daemon *daemon, Operation *operation);

/* For kinds without a driver: look at the cluster and say whether it is done (the DC calls this). */
void operation_judge(Daemon *daemon, Operation *operation, const PacemakerStatus *pacemaker);
