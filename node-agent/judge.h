/* SPDX-License-Identifier: Apache-2.0
 * When a running operation is over: the decision, pure. Operations without a driver (create, start, delete, online,
 * grow, replace_replica) are compared with what they wait for; those with one are judged only when their driver's
 * holdfastd is gone. */
#pragma once

#include "cluster/objects.h"
#include "cluster/pacemaker.h"
#include "node-agent/replica_replace.h"
#include "node-agent/volume_grow.h"

typedef enum {
    JUDGE_WAIT,
    JUDGE_DONE,
    JUDGE_FAILED,    /* the error says why */
    JUDGE_TAKE_OVER, /* any node can drive it: another one shall */
} Verdict;

typedef struct {
    const Operation *operation;
    gboolean driver_gone; /* its driver's holdfastd has not been in the group for longer than a restart takes */
    const PacemakerStatus *pacemaker;
    const Guest *guest;                 /* of a guest's operation; NULL: there is none */
    gboolean record_ready;              /* the guest's volumes were initialised */
    const GrowProgress *growth;         /* of a volume.grow; NULL: the volume or its guest is gone */
    const ReplaceProgress *replacement; /* of a guest.replace_replica; NULL: its guest is gone */
    const char *condition;              /* what the replicas' nodes say of the guest, for people */
} JudgeFacts;

/* *ret_stage (caller frees, stays NULL): what to show while it waits. */
Verdict judge(const JudgeFacts *facts, char **ret_stage, GError **error);

/* The device is marked as being proven and nobody proves it. `operations`: of Operation, all there are. */
gboolean judge_proof_is_abandoned(const FenceDevice *device, const GPtrArray *operations);

/* Whether something has been absent for longer than limit_ms. *since_ms (0: it was not) is the caller's memory. */
gboolean judge_absence_outlasts(gint64 *since_ms, gboolean present, gint64 now_ms, gint64 limit_ms);
