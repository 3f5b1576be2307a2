/* SPDX-License-Identifier: Apache-2.0
 * Whether a volume may grow, over a snapshot of the store. No I/O. */
#include "cluster/plan_parts.h"

#include "common/error.h"

#include <string.h>

#define MIB ((gint64) 1024 * 1024)
#define GRAIN_MIB 4
#define SIZE_MAX_MIB 67108864

gboolean plan_grow_size(const Volume *volume, gint64 size_mib, GError **error)
{
    gint64 now_mib = volume->size_bytes / MIB;
    if (size_mib % GRAIN_MIB != 0 || size_mib < GRAIN_MIB || size_mib > SIZE_MAX_MIB) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "size_mib: must be a multiple of %d between %d and %d, not %" G_GINT64_FORMAT, GRAIN_MIB, GRAIN_MIB,
                    SIZE_MAX_MIB, size_mib);
        return FALSE;
    }
    if (size_mib < now_mib) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "size_mib: volume '%s-%" G_GINT64_FORMAT "' has %" G_GINT64_FORMAT
                    " MiB and cannot shrink to %" G_GINT64_FORMAT
                    "; to get a smaller one, create a guest with it and copy the data over inside the guests",
                    volume->guest, volume->index, now_mib, size_mib);
        return FALSE;
    }
    return TRUE;
}

/* Thin pools promise more than they have; what is added must fit into what is really free now, as with a new volume. */
static char *pool_refusal(const NodeStatus *status, gint64 more_mib, gint64 wanted_mib)
{
    gint64 free_mib = status->pool_size_mib * (1000 - status->pool_used_permille) / 1000;
    if (status->pool_used_permille >= POOL_FULL_PERMILLE || status->pool_metadata_permille >= POOL_FULL_PERMILLE) {
        return g_strdup_printf("the pool of %s is %" G_GINT64_FORMAT " %% full (metadata %" G_GINT64_FORMAT
                               " %%), nothing grows from %d %% on",
                               status->node, status->pool_used_permille / 10, status->pool_metadata_permille / 10,
                               POOL_FULL_PERMILLE / 10);
    }
    if (more_mib > free_mib || wanted_mib >= status->pool_size_mib) {
        return g_strdup_printf("the pool of %s has %" G_GINT64_FORMAT " MiB free of %" G_GINT64_FORMAT
                               " MiB, growing needs %" G_GINT64_FORMAT " MiB more",
                               status->node, free_mib, status->pool_size_mib, more_mib);
    }
    return NULL;
}

gboolean plan_grow(const PlanSnapshot *snapshot, const Guest *guest, const Volume *volume, gint64 size_mib,
                   GError **error)
{
    gint64 more_mib = size_mib - volume->size_bytes / MIB;
    g_autoptr(GString) refusals = g_string_new(NULL);
    if (!plan_grow_size(volume, size_mib, error)) {
        return FALSE;
    }
    for (char **node = guest->nodes; *node; node++) {
        const NodeStatus *status = plan_status_find(snapshot, *node);
        if (!status) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                        "node %s, which has a replica, is down or its agent does not report: a volume grows on all its "
                        "nodes at once; try again when %s is back",
                        *node, *node);
            return FALSE;
        }
        g_autofree char *refusal = more_mib > 0 ? pool_refusal(status, more_mib, size_mib) : NULL;
        if (refusal) {
            g_string_append_printf(refusals, "%s%s", refusals->len ? "; " : "", refusal);
        }
    }
    if (refusals->len) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "size_mib: %s: delete guests there, add a disk to the pool or ask for less", refusals->str);
        return FALSE;
    }
    return TRUE;
}
