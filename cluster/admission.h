/* SPDX-License-Identifier: Apache-2.0
 * Admission control: whether the cluster, having lost any one node, could still run a guest beside the others. Pure.
 *
 * A guest has one or two places, its replicas' nodes, so nothing is to be packed: when a node is lost its guests come
 * up on their other replica's node, or nowhere. A node's load after the worst loss is therefore what runs there plus,
 * for the worst node to lose, what would come over from it. A guest is admitted when on each of its nodes there is room
 * for it above that: then it fits wherever it starts, whichever node fails. */
#pragma once

#include "cluster/plan.h"

#define ADMISSION_VCPUS_PER_CPU 8 /* beyond it guests wait for a CPU so long that they no longer count as running */

/* One node as a place for one more guest. */
typedef struct {
    gint64 memory_mib;                    /* for guests */
    gint64 vcpus;                         /* 0: its CPUs are not known, no limit */
    gint64 memory_used_mib, vcpus_used;   /* after the worst loss for each */
    const char *memory_lost, *vcpus_lost; /* borrowed: the node whose loss is the worst; NULL: none adds anything */
} AdmissionRoom;

/* `except`: a guest that is not counted, being the one asked for; NULL: none. FALSE: the node says nothing of itself.
 */
gboolean admission_room(const PlanSnapshot *snapshot, const char *node, const Guest *except, AdmissionRoom *ret);
/* Why a guest of this size does not fit there, with the figures, beginning with "it "; NULL: it fits. */
char *admission_refusal(const AdmissionRoom *room, const GuestSpec *spec);
/* Whether `guest`, with its spec as it stands, may be started: asked of each of its nodes that is there. NO_SPACE with
 * the figures, the text beginning with "spec.memory_mib" or "spec.vcpus". */
gboolean admission_check(const PlanSnapshot *snapshot, const Guest *guest, GError **error);
/* What people should know: one text for each node whose loss would leave guests without memory, and for each guest that
 * is to run, does not, and has no room now. Caller g_strfreev. */
char **admission_problems(const PlanSnapshot *snapshot);
