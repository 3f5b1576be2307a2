/* SPDX-License-Identifier: Apache-2.0
 * Where a replica that is given up is built anew, over a snapshot of the store. No I/O. */
#include "cluster/plan_parts.h"

#include "common/error.h"
#include "common/ident.h"

#include <string.h>
#include <sys/random.h>

#define SECRET_BYTES 16

char *plan_new_secret(void)
{
    guint8 bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t) sizeof(bytes)) {
        g_error("the kernel gave no random bytes");
    }
    char *secret = g_malloc(2 * SECRET_BYTES + 1);
    for (int i = 0; i < SECRET_BYTES; i++) {
        g_snprintf(secret + 2 * i, 3, "%02x", bytes[i]);
    }
    return secret;
}

/* And who holds the image does not matter here. */
static void refuse_node(GPtrArray *candidates, const char *name, const char *why)
{
    for (guint i = 0; i < candidates->len; i++) {
        PlanCandidate *candidate = candidates->pdata[i];
        candidate->holds_images = TRUE;
        if (strcmp(candidate->node->name, name) == 0) {
            g_free(candidate->refusal);
            candidate->refusal = g_strdup(why);
            candidate->full = FALSE;
        }
    }
}

static GPtrArray *volumes_of(const PlanSnapshot *snapshot, const Guest *guest)
{
    GPtrArray *volumes = g_ptr_array_new();
    for (guint i = 0; i < snapshot->volumes->len; i++) {
        const Volume *volume = snapshot->volumes->pdata[i];
        if (strcmp(volume->guest, guest->name) == 0) {
            g_ptr_array_add(volumes, (gpointer) volume);
        }
    }
    return volumes;
}

/* The best one is not always the first: nodes were refused after they had been sorted. */
static const PlanCandidate *pick(const GPtrArray *candidates, const char *wanted)
{
    for (guint i = 0; i < candidates->len; i++) {
        const PlanCandidate *candidate = candidates->pdata[i];
        if (wanted ? strcmp(candidate->node->name, wanted) == 0 : !candidate->refusal) {
            return candidate;
        }
    }
    return NULL;
}

static gboolean any_full(const GPtrArray *candidates)
{
    for (guint i = 0; i < candidates->len; i++) {
        if (((const PlanCandidate *) candidates->pdata[i])->full) {
            return TRUE;
        }
    }
    return FALSE;
}

gboolean plan_replace(const PlanSnapshot *snapshot, const Guest *guest, const char *from, const char *wanted,
                      char **ret_to, char **ret_reasons, GError **error)
{
    g_autofree char *places = g_strjoinv(" and ", guest->nodes);
    const char *keeper = guest_peer_node(guest, from);
    if (!guest_on_node(guest, from)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_INVALID,
                                   "from: guest '%s' has no replica on '%s': it has them on %s", guest->name, from,
                                   places);
    }
    if (!keeper) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "from: guest '%s' has its only replica on '%s': there is nothing to build another "
                                   "one from",
                                   guest->name, from);
    }
    g_autoptr(GPtrArray) volumes = volumes_of(snapshot, guest);
    g_autoptr(GPtrArray) candidates = plan_candidates(snapshot, &guest->spec, volumes);
    refuse_node(candidates, from, "its replica is the one to be replaced");
    refuse_node(candidates, keeper, "it has the other replica");
    const PlanCandidate *chosen = pick(candidates, wanted);
    g_autofree char *text = plan_candidates_text(candidates, NULL, "; ");
    if (!chosen && wanted) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_NOT_FOUND, "to: there is no node '%s' that holds guests",
                                   wanted);
    }
    if (!chosen) {
        return holdfast_error_fail(error, any_full(candidates) ? HOLDFAST_ERROR_NO_SPACE : HOLDFAST_ERROR_REFUSED,
                                   "to: no node can take a replica of guest '%s' (%s): add a node, or make room",
                                   guest->name, text);
    }
    if (chosen->refusal) {
        return holdfast_error_fail(error, chosen->full ? HOLDFAST_ERROR_NO_SPACE : HOLDFAST_ERROR_REFUSED,
                                   "to: '%s' cannot take a replica of guest '%s': %s", wanted, guest->name,
                                   chosen->refusal);
    }
    char *picked[] = {chosen->node->name, NULL};
    *ret_to = g_strdup(chosen->node->name);
    if (ret_reasons) {
        *ret_reasons = plan_candidates_text(candidates, picked, "; ");
    }
    return TRUE;
}

void plan_replace_apply(Guest *guest, const char *keeper, const char *to)
{
    const char *nodes[] = {keeper, to, NULL};
    char **next = g_strdupv((char **) nodes);
    g_autofree char *joining = g_strdup(to);
    g_strfreev(guest->nodes);
    guest->nodes = next;
    g_free(guest->drbd_secret);
    guest->drbd_secret = plan_new_secret();
    g_free(guest->joining);
    guest->joining = g_steal_pointer(&joining);
    g_free(guest->joining_id);
    guest->joining_id = ident_new_uuid();
}
