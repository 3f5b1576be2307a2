/* SPDX-License-Identifier: Apache-2.0
 * The nodes as places for a replica: what speaks against each, and which is best. No I/O. */
#include "cluster/admission.h"
#include "cluster/plan_parts.h"

#include <string.h>

#define MIB (1024 * 1024)

const NodeStatus *plan_status_find(const PlanSnapshot *snapshot, const char *node)
{
    for (guint i = 0; i < snapshot->node_statuses->len; i++) {
        const NodeStatus *status = snapshot->node_statuses->pdata[i];
        if (strcmp(status->node, node) == 0) {
            return status;
        }
    }
    return NULL;
}

const Image *plan_image_find(const PlanSnapshot *snapshot, const char *name)
{
    for (guint i = 0; i < snapshot->images->len; i++) {
        const Image *image = snapshot->images->pdata[i];
        if (strcmp(image->name, name) == 0) {
            return image;
        }
    }
    return NULL;
}

static void candidate_free(PlanCandidate *candidate)
{
    g_free(candidate->refusal);
    g_free(candidate);
}

static char *space_refusal(const PlanCandidate *candidate, const NodeStatus *status, gint64 need_mib)
{
    if (status->pool_used_permille >= POOL_FULL_PERMILLE || status->pool_metadata_permille >= POOL_FULL_PERMILLE) {
        return g_strdup_printf(
            "its pool is %" G_GINT64_FORMAT " %% full (metadata %" G_GINT64_FORMAT " %%), nothing new from %d %% on",
            status->pool_used_permille / 10, status->pool_metadata_permille / 10, POOL_FULL_PERMILLE / 10);
    }
    if (need_mib > candidate->pool_free_mib) {
        return g_strdup_printf("its pool has %" G_GINT64_FORMAT " MiB free of %" G_GINT64_FORMAT
                               " MiB, the volumes need %" G_GINT64_FORMAT " MiB",
                               candidate->pool_free_mib, status->pool_size_mib, need_mib);
    }
    return NULL;
}

gboolean plan_lacks_kvm(const GuestSpec *spec, const NodeStatus *status)
{
    return spec->engine == GUEST_ENGINE_KVM && !status->kvm;
}

static gboolean images_on_node(const PlanSnapshot *snapshot, const GuestSpec *spec, const char *node)
{
    for (guint i = 0; i < spec->volumes->len; i++) {
        const GuestVolumeSpec *volume = spec->volumes->pdata[i];
        const Image *image = volume->image ? plan_image_find(snapshot, volume->image) : NULL;
        if (image && (!image->nodes || !g_strv_contains((const char *const *) image->nodes, node))) {
            return FALSE;
        }
    }
    return TRUE;
}

static int company(const PlanSnapshot *snapshot, const GuestSpec *spec, const char *node)
{
    int n = 0;
    for (guint i = 0; i < snapshot->guests->len; i++) {
        const Guest *guest = snapshot->guests->pdata[i];
        if (guest_on_node(guest, node)) {
            n += spec->keep_together && g_strv_contains((const char *const *) spec->keep_together, guest->name);
            n -= spec->keep_apart && g_strv_contains((const char *const *) spec->keep_apart, guest->name);
        }
    }
    return n;
}

static PlanCandidate *candidate_new(const PlanSnapshot *snapshot, const GuestSpec *spec, const Node *node,
                                    gint64 need_mib)
{
    PlanCandidate *candidate = g_new0(PlanCandidate, 1);
    candidate->node = node;
    const NodeStatus *status = plan_status_find(snapshot, node->name);
    AdmissionRoom room = {0};
    if (node->leaving) {
        candidate->refusal = g_strdup("it is leaving the cluster");
    } else if (!admission_room(snapshot, node->name, NULL, &room)) {
        candidate->refusal = g_strdup("it is down or its agent does not report");
    } else {
        candidate->pool_free_mib = status->pool_size_mib * (1000 - status->pool_used_permille) / 1000;
        candidate->memory_left_mib = room.memory_mib - room.memory_used_mib;
        candidate->company = company(snapshot, spec, node->name);
        candidate->holds_images = images_on_node(snapshot, spec, node->name);
        candidate->refusal = space_refusal(candidate, status, need_mib);
        candidate->refusal = candidate->refusal ? candidate->refusal : admission_refusal(&room, spec);
        candidate->full = candidate->refusal != NULL;
        if (!candidate->refusal && plan_lacks_kvm(spec, status)) {
            candidate->refusal = g_strdup("it has no KVM, which engine 'kvm' asks for ('auto' would emulate)");
        }
    }
    return candidate;
}

/* Usable ones first; then the company it wants, most free pool, most memory, the images' holders, name. */
static int candidate_compare(gconstpointer a, gconstpointer b)
{
    const PlanCandidate *x = *(const PlanCandidate *const *) a;
    const PlanCandidate *y = *(const PlanCandidate *const *) b;
    if (!x->refusal != !y->refusal) {
        return x->refusal ? 1 : -1;
    }
    if (x->company != y->company) {
        return x->company < y->company ? 1 : -1;
    }
    if (x->pool_free_mib != y->pool_free_mib) {
        return x->pool_free_mib < y->pool_free_mib ? 1 : -1;
    }
    if (x->memory_left_mib != y->memory_left_mib) {
        return x->memory_left_mib < y->memory_left_mib ? 1 : -1;
    }
    if (x->holds_images != y->holds_images) {
        return x->holds_images ? -1 : 1;
    }
    return strcmp(x->node->name, y->node->name);
}

GPtrArray *plan_candidates(const PlanSnapshot *snapshot, const GuestSpec *spec, const GPtrArray *volumes)
{
    gint64 need_mib = 0;
    for (guint i = 0; i < volumes->len; i++) {
        need_mib += ((const Volume *) volumes->pdata[i])->size_bytes / MIB;
    }
    GPtrArray *candidates = g_ptr_array_new_with_free_func((GDestroyNotify) candidate_free);
    for (guint i = 0; i < snapshot->nodes->len; i++) {
        g_ptr_array_add(candidates, candidate_new(snapshot, spec, snapshot->nodes->pdata[i], need_mib));
    }
    g_ptr_array_sort(candidates, candidate_compare);
    return candidates;
}

/* For each node "n1: chosen, <figures>" or "n2: <why not>". */
char *plan_candidates_text(const GPtrArray *candidates, char *const *chosen, const char *separator)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < candidates->len; i++) {
        const PlanCandidate *candidate = candidates->pdata[i];
        g_string_append_printf(text, "%s%s: ", i ? separator : "", candidate->node->name);
        if (candidate->refusal) {
            g_string_append(text, candidate->refusal);
            continue;
        }
        gboolean picked = chosen && g_strv_contains((const char *const *) chosen, candidate->node->name);
        g_string_append_printf(text,
                               "%s, %" G_GINT64_FORMAT " MiB of pool free, %" G_GINT64_FORMAT " MiB of memory left%s",
                               picked ? "chosen" : "usable", candidate->pool_free_mib, candidate->memory_left_mib,
                               candidate->holds_images ? "" : ", does not hold the image");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}
