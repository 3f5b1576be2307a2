/* SPDX-License-Identifier: Apache-2.0
 * Operations without a driver (create, start, delete, online, grow): the DC compares the cluster with what the
 * operation is waiting for. */
#include "node-agent/operation.h"

#include "common/error.h"
#include "node-agent/volume_grow.h"
#include "storage/record.h"

#include <string.h>

typedef enum { JUDGE_WAIT, JUDGE_DONE, JUDGE_FAILED } Verdict;

static const char *target_name(const Operation *operation)
{
    const char *slash = strchr(operation->target, '/');
    return slash ? slash + 1 : operation->target;
}

static gboolean record_is_ready(Daemon *daemon, const char *guest)
{
    Record record;
    char reason[200];
    g_autofree char *key = record_key(guest);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry && record_decode(entry->value, &record, reason, sizeof(reason)) && record.state != RECORD_NEW;
}

/* What the replicas' nodes say, as one line. */
static char *replica_conditions(Daemon *daemon, const Guest *guest)
{
    GString *text = g_string_new(NULL);
    for (char **node = guest->nodes; *node; node++) {
        g_autofree char *key = g_strdup_printf("status/%s/guest/%s", *node, guest->name);
        g_autoptr(GuestStatus) status = cache_object(daemon->cache, &guest_status_type, key, NULL);
        const char *what = !status              ? "no word yet"
                           : *status->condition ? status->condition
                           : status->ready      ? "ready"
                                                : "working";
        g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "", *node, what);
    }
    return g_string_free(text, FALSE);
}

static Verdict judge_running(Daemon *daemon, Operation *operation, const Guest *guest, const PacemakerStatus *pacemaker,
                             GError **error)
{
    const PacemakerResource *resource = pacemaker_status_resource(pacemaker, guest->name);
    if (resource && g_strcmp0(resource->role, "Started") == 0 && resource->node && !resource->pending) {
        return JUDGE_DONE;
    }
    g_autofree char *start_failure = g_strconcat(guest->name, "_start_", NULL);
    for (char **failure = pacemaker->failures; resource && !resource->pending && failure && *failure; failure++) {
        if (g_str_has_prefix(*failure, start_failure)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                        "the guest could not be started: %s; repair the cause, then 'holdfast guest start %s'",
                        *failure, guest->name);
            return JUDGE_FAILED;
        }
    }
    operation_stage(daemon, operation, "Pacemaker is starting the guest");
    return JUDGE_WAIT;
}

static Verdict judge_guest(Daemon *daemon, Operation *operation, const PacemakerStatus *pacemaker, GError **error)
{
    g_autofree char *key = g_strconcat("guest/", target_name(operation), NULL);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    gboolean deletion = g_str_equal(operation->kind, "guest.delete");
    if (!guest) {
        if (!deletion) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "guest '%s' was deleted meanwhile",
                        target_name(operation));
        }
        return deletion ? JUDGE_DONE : JUDGE_FAILED;
    }
    if (deletion || !record_is_ready(daemon, guest->name)) {
        g_autofree char *conditions = replica_conditions(daemon, guest);
        operation_stage(daemon, operation, "%s", conditions);
        return JUDGE_WAIT;
    }
    if (guest->spec.desired == GUEST_DESIRED_RUNNING) {
        return judge_running(daemon, operation, guest, pacemaker, error);
    }
    return JUDGE_DONE;
}

static Verdict judge_online(Operation *operation, const PacemakerStatus *pacemaker)
{
    for (guint i = 0; i < pacemaker->nodes->len; i++) {
        const PacemakerNode *node = pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, target_name(operation))) {
            return node->online && !node->standby ? JUDGE_DONE : JUDGE_WAIT;
        }
    }
    return JUDGE_WAIT;
}

/* Done when every replica's node reports the new size, and the running guest was shown it (volume_grow.h). */
static Verdict judge_growth(Daemon *daemon, Operation *operation, GError **error)
{
    GuestStatus *statuses[GUEST_REPLICAS_MAX] = {NULL};
    g_autoptr(Volume) volume = cache_object(daemon->cache, &volume_type, operation->target, NULL);
    g_autofree char *key = g_strconcat("guest/", volume ? volume->guest : "", NULL);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    if (!guest || guest->deleting) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "%s was deleted meanwhile", operation->target);
        return JUDGE_FAILED;
    }
    for (guint i = 0; guest->nodes[i]; i++) {
        g_autofree char *status_key = g_strdup_printf("status/%s/guest/%s", guest->nodes[i], guest->name);
        statuses[i] = cache_object(daemon->cache, &guest_status_type, status_key, NULL);
    }
    GrowProgress progress = volume_grow_judge(guest, volume, statuses);
    g_autofree char *stage = progress.stage;
    for (guint i = 0; i < G_N_ELEMENTS(statuses); i++) {
        guest_status_free(statuses[i]);
    }
    if (progress.done < progress.total) {
        if (operation->done != progress.done || operation->total != progress.total) {
            operation_progress(daemon, operation, progress.done, progress.total, "steps");
        }
        operation_stage(daemon, operation, "%s", stage);
        return JUDGE_WAIT;
    }
    return JUDGE_DONE;
}

/* A driver that died with its node leaves its operation behind. */
static Verdict judge_driven(Daemon *daemon, Operation *operation, GError **error)
{
    if (daemon_node_online(daemon, operation->node)) {
        return JUDGE_WAIT;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                "node %s, which was doing it, left the cluster; look at the object and ask again", operation->node);
    return JUDGE_FAILED;
}

void operation_judge(Daemon *daemon, Operation *operation, const PacemakerStatus *pacemaker)
{
    g_autoptr(GError) error = NULL;
    Verdict verdict = JUDGE_WAIT;
    if (operation->node) {
        verdict = judge_driven(daemon, operation, &error);
    } else if (g_str_equal(operation->kind, "node.online")) {
        verdict = judge_online(operation, pacemaker);
    } else if (g_str_equal(operation->kind, "volume.grow")) {
        verdict = judge_growth(daemon, operation, &error);
    } else if (g_str_has_prefix(operation->kind, "guest.")) {
        verdict = judge_guest(daemon, operation, pacemaker, &error);
    }
    if (verdict == JUDGE_WAIT && operation->cancel_requested && !operation->node) {
        g_set_error_literal(
            &error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
            "no longer waited for; what was asked for still stands and can be changed by another request");
        verdict = JUDGE_FAILED;
    }
    if (verdict != JUDGE_WAIT) {
        operation_end(daemon, operation, error);
    }
}
