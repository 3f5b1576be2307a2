/* SPDX-License-Identifier: Apache-2.0
 * Operations: the documents op/<id> through which people see long work, and the drivers that do it. */
#pragma once

#include "node-agent/daemon.h"

/* The first stage: nothing was done yet. */
#define OPERATION_STAGE_ACCEPTED "accepted"

/* A new running operation; `node` drives it (NULL: the judge ends it by what it sees). Not stored yet. */
Operation *operation_new(const char *kind, const char *target, const char *argument, const char *node);
/* Add its creation to a transaction, so that request and operation are one. */
void operation_add_to(StoreTxn *txn, const Operation *operation);
gboolean operation_create(Daemon *daemon, const Operation *operation, GError **error);
/* One that tells of something that was done already: nobody drives it. */
gboolean operation_create_done(Daemon *daemon, Operation *operation, GError **error);
Operation *operation_get(Daemon *daemon, const char *id);
/* The running operation on `target` ("guest/web1"), or NULL. Caller frees. */
Operation *operation_running_on(Daemon *daemon, const char *target);

/* An operation that somebody else ended or took over while we were away (our holdfastd was given up for dead) is not
 * ours to write any more: progress and end of such a one are dropped. */

/* Set the stage (printf) and progress; keeps a cancel request set meanwhile. Errors are logged only: progress is not
 * worth failing for. */
void operation_stage(Daemon *daemon, Operation *operation, const char *format, ...) G_GNUC_PRINTF(3, 4);
void operation_progress(Daemon *daemon, Operation *operation, gint64 done, gint64 total, const char *unit);
/* It shall be given up: somebody asked for that, or it is not ours any more. */
gboolean operation_cancel_requested(Daemon *daemon, const Operation *operation);
gboolean operation_is_lost(Daemon *daemon, const Operation *operation); /* the latter alone */
/* End it: error NULL = succeeded; CANCELLED = cancelled; else failed. */
void operation_end(Daemon *daemon, Operation *operation, const GError *error);
/* Ask whoever drives it to give it up. REFUSED: it has ended. */
gboolean operation_request_cancel(Daemon *daemon, const char *id, GError **error);
/* Make this node its driver, if the one named in it still is. */
gboolean operation_take_over(Daemon *daemon, const Operation *operation, GError **error);
/* Block until operation `id` has ended: TRUE when it succeeded, else *error says why not. When `waiter` (the operation
 * that waits) is cancelled, `id` is too, and its end is still awaited. TIMEOUT after limit_ms: it was asked to stop and
 * may still end. */
gboolean operation_wait(Daemon *daemon, const Operation *waiter, const char *id, int limit_ms, GError **error);

/* As JSON for the API. */
json_t *operation_view(const Operation *operation);

/* The drivers, one file each; they block in the worker pool and end the operation themselves. */
void drive_guest_migrate(Daemon *daemon, Operation *operation);
void drive_guest_stop(Daemon *daemon, Operation *operation);
void drive_node_standby(Daemon *daemon, Operation *operation);
void drive_image_import(Daemon *daemon, Operation *operation);
void drive_fence_prove(Daemon *daemon, Operation *operation);
void drive_guest_verify(Daemon *daemon, Operation *operation);
void drive_node_remove(Daemon *daemon, Operation *operation); /* of a node that is gone for good */

/* Look at the cluster and end what is done, or can be done by nobody any more (node-agent/judge.h decides). For the one
 * node that judges. */
void operation_judge(Daemon *daemon, Operation *operation, const PacemakerStatus *pacemaker);
/* A device left as "being proven" by a driver that is no more is unproven. */
void operation_judge_proofs(Daemon *daemon);
/* The fence device of `node` is unproven if it still is under proof. */
gboolean fence_proof_abandon(Daemon *daemon, const char *node, const char *why, GError **error);
