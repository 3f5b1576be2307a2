/* SPDX-License-Identifier: Apache-2.0
 * What the files of the planner share. */
#pragma once

#include "cluster/plan.h"

#define POOL_FULL_PERMILLE 900

/* Borrowed; NULL: the node has not said anything. */
const NodeStatus *plan_status_find(const PlanSnapshot *snapshot, const char *node);
const Image *plan_image_find(const PlanSnapshot *snapshot, const char *name);
gboolean plan_lacks_kvm(const GuestSpec *spec, const NodeStatus *status);

/* One node as a place for a replica. */
typedef struct {
    const Node *node;
    gint64 pool_free_mib;
    gint64 memory_left_mib; /* after the worst loss of another node, the new guest not counted */
    int company;            /* guests with a replica here that it wants to be together with, less those to be apart */
    gboolean full;          /* refused for a figure, not for its state */
    gboolean holds_images;
    char *refusal; /* NULL: usable */
} PlanCandidate;

/* Every node, the best first (of PlanCandidate); `volumes`: of Volume. Caller unrefs. */
GPtrArray *plan_candidates(const PlanSnapshot *snapshot, const GuestSpec *spec, const GPtrArray *volumes);
/* For each node "n1: chosen, <figures>" or "n2: <why not>". */
char *plan_candidates_text(const GPtrArray *candidates, char *const *chosen, const char *separator);
/* What both ends of a DRBD connection show each other; caller frees. */
char *plan_new_secret(void);
