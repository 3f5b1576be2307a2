/* SPDX-License-Identifier: Apache-2.0
 * Pure planning over a snapshot of the store: where a new guest's replicas go, which slot it gets, whether it fits. No
 * I/O. */
#pragma once

#include "cluster/objects.h"

typedef struct {
    GPtrArray *nodes;         /* of Node */
    GPtrArray *node_statuses; /* of NodeStatus; a node without one is unknown and gets nothing new */
    GPtrArray *guests;        /* of Guest */
    GPtrArray *volumes;       /* of Volume */
    GPtrArray *images;        /* of Image */
    GPtrArray *networks;      /* of Network */
} PlanSnapshot;

/* Plan a new guest: checks names, networks and images, picks replica nodes (most free pool, then memory, then name; an
 * image's holder is nodes[0]), slot, MACs, secret. EXISTS, NOT_FOUND (field named), NO_SPACE with the figures, INVALID.
 * *ret_reasons: text for people on each node. */
gboolean plan_guest(const PlanSnapshot *snapshot, const char *name, const GuestSpec *spec, Guest **ret_guest,
                    GPtrArray **ret_volumes, char **ret_reasons, GError **error);
/* Whether `guest` may move to `node`: replica there, node known and with memory. */
gboolean plan_move(const PlanSnapshot *snapshot, const Guest *guest, const char *node, GError **error);
