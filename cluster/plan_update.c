/* SPDX-License-Identifier: Apache-2.0
 * Whether a guest's spec may change, over a snapshot of the store. No I/O. */
#include "cluster/admission.h"
#include "cluster/plan.h"
#include "cluster/relations.h"

#include "common/error.h"

#include <string.h>

static const char *runs_on(const PlanSnapshot *snapshot, const char *guest)
{
    return snapshot->homes ? g_hash_table_lookup(snapshot->homes, guest) : NULL;
}

/* Pacemaker would part the two at once, by stopping one when it cannot be moved: that is the operator's to do. */
static gboolean are_apart(const PlanSnapshot *snapshot, const Guest *guest, const GuestSpec *changed, GError **error)
{
    const char *home = runs_on(snapshot, guest->name);
    for (char **name = changed->keep_apart_strict && home ? changed->keep_apart : NULL; name && *name; name++) {
        if (g_strcmp0(runs_on(snapshot, *name), home) == 0) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "spec.keep_apart_strict: '%s' and '%s' both run on %s: move one of them first with 'holdfast "
                        "guest migrate'",
                        guest->name, *name, home);
            return FALSE;
        }
    }
    return TRUE;
}

/* The VMM keeps what it was started with. */
static gboolean machine_may_change(const PlanSnapshot *snapshot, const Guest *guest, const GuestSpec *changed,
                                   GError **error)
{
    gboolean memory = changed->memory_mib != guest->spec.memory_mib, vcpus = changed->vcpus != guest->spec.vcpus;
    if (!memory && !vcpus) {
        return TRUE;
    }
    if (guest->spec.desired == GUEST_DESIRED_RUNNING || runs_on(snapshot, guest->name)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "%s: guest '%s' is not stopped, and changes from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                    " only while it is: 'holdfast guest stop %s' first",
                    memory ? "spec.memory_mib" : "spec.vcpus", guest->name,
                    memory ? guest->spec.memory_mib : guest->spec.vcpus, memory ? changed->memory_mib : changed->vcpus,
                    guest->name);
        return FALSE;
    }
    Guest larger = *guest;
    larger.spec = *changed;
    gboolean grows = changed->memory_mib > guest->spec.memory_mib || changed->vcpus > guest->spec.vcpus;
    return !grows || admission_check(snapshot, &larger, error);
}

/* What depends on where guests run is not decided without knowing it. */
static gboolean homes_are_known(const PlanSnapshot *snapshot, const Guest *guest, const GuestSpec *changed,
                                GError **error)
{
    gboolean matters = changed->keep_apart_strict || changed->memory_mib != guest->spec.memory_mib ||
                       changed->vcpus != guest->spec.vcpus || changed->restart_limit != guest->spec.restart_limit ||
                       changed->restart_window_s != guest->spec.restart_window_s;
    if (matters && !snapshot->homes) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE,
                            "Pacemaker does not say where guests run just now, and this change depends on it: retry");
        return FALSE;
    }
    return TRUE;
}

gboolean plan_update(const PlanSnapshot *snapshot, const Guest *guest, const GuestSpec *changed, GError **error)
{
    return relations_check(snapshot->guests, guest->name, changed, &guest->spec, error) &&
           homes_are_known(snapshot, guest, changed, error) && are_apart(snapshot, guest, changed, error) &&
           machine_may_change(snapshot, guest, changed, error);
}
