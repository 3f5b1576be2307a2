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
    GHashTable *homes;        /* guest -> node it runs on; NULL: not known, then where it would be started */
} PlanSnapshot;

/* Plan a new guest: checks names, networks, images and relations, picks replica nodes (with room even after the loss of
 * any one node; most of the guests to be together with and fewest of those to be apart from, then most free pool, then
 * memory, then who holds the images, then name; nodes[0] is a holder when one of those picked is, else it will fetch
 * them), slot, MACs, secret. EXISTS, NOT_FOUND (field named), NO_SPACE with the figures, INVALID, UNAVAILABLE (an
 * image's holders are all away). *ret_reasons: text for people on each node. */
gboolean plan_guest(const PlanSnapshot *snapshot, const char *name, const GuestSpec *spec, Guest **ret_guest,
                    GPtrArray **ret_volumes, char **ret_reasons, GError **error);
/* Whether `volume` of `guest` may have size_mib (plan_grow.c): INVALID (no multiple of 4 MiB, or it would shrink),
 * UNAVAILABLE (a replica's node is away), NO_SPACE with the figures of each pool. The present size is fine. */
gboolean plan_grow_size(const Volume *volume, gint64 size_mib, GError **error); /* the size alone */
gboolean plan_grow(const PlanSnapshot *snapshot, const Guest *guest, const Volume *volume, gint64 size_mib,
                   GError **error);
/* Whether `guest`, as stored, may have the spec `changed` (plan_update.c): what relations_check() says; REFUSED (memory
 * or vCPUs of a guest that is not stopped, a strict keep_apart of two that share a node now), NO_SPACE (admission.h).
 */
gboolean plan_update(const PlanSnapshot *snapshot, const Guest *guest, const GuestSpec *changed, GError **error);
/* Where the replica that `guest` has on `from` may be built anew (plan_replace.c): `wanted`, or when that is NULL the
 * best node for a replica that has none of its. INVALID (no replica there), NOT_FOUND, REFUSED, NO_SPACE with the
 * figures. The image is not asked for: the data comes from the other replica. */
gboolean plan_replace(const PlanSnapshot *snapshot, const Guest *guest, const char *from, const char *wanted,
                      char **ret_to, char **ret_reasons, GError **error);
/* The document as it is while that is done: `keeper` first, a new secret (so that the replica given up never connects
 * again), and which replica is being built. */
void plan_replace_apply(Guest *guest, const char *keeper, const char *to);
/* Whether `guest` may move to `node`: replica there, node known and with memory. */
gboolean plan_move(const PlanSnapshot *snapshot, const Guest *guest, const char *node, GError **error);
