/* SPDX-License-Identifier: Apache-2.0
 * The decision about operations that nobody drives, or nobody drives any more. */
#include "node-agent/judge.h"

#include "common/error.h"
#include "node-agent/operation.h"

#include <string.h>

static const char *target_name(const Operation *operation)
{
    const char *slash = strchr(operation->target, '/');
    return slash ? slash + 1 : operation->target;
}

static Verdict judge_running(const JudgeFacts *facts, char **ret_stage, GError **error)
{
    const char *name = facts->guest->name;
    const PacemakerResource *resource = pacemaker_status_resource(facts->pacemaker, name);
    if (resource && g_strcmp0(resource->role, "Started") == 0 && resource->node && !resource->pending) {
        return JUDGE_DONE;
    }
    g_autofree char *start_failure = g_strconcat(name, "_start_", NULL);
    char **failure = facts->pacemaker->failures;
    for (; resource && !resource->pending && failure && *failure; failure++) {
        if (g_str_has_prefix(*failure, start_failure)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                        "the guest could not be started: %s; repair the cause, then 'holdfast guest start %s'",
                        *failure, name);
            return JUDGE_FAILED;
        }
    }
    *ret_stage = g_strdup("Pacemaker is starting the guest");
    return JUDGE_WAIT;
}

static Verdict judge_guest(const JudgeFacts *facts, char **ret_stage, GError **error)
{
    gboolean deletion = g_str_equal(facts->operation->kind, "guest.delete");
    if (!facts->guest) {
        if (!deletion) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "guest '%s' was deleted meanwhile",
                        target_name(facts->operation));
        }
        return deletion ? JUDGE_DONE : JUDGE_FAILED;
    }
    if (deletion || !facts->record_ready) {
        *ret_stage = g_strdup(facts->condition);
        return JUDGE_WAIT;
    }
    if (facts->guest->spec.desired == GUEST_DESIRED_RUNNING) {
        return judge_running(facts, ret_stage, error);
    }
    return JUDGE_DONE;
}

static Verdict judge_online(const JudgeFacts *facts)
{
    for (guint i = 0; i < facts->pacemaker->nodes->len; i++) {
        const PacemakerNode *node = facts->pacemaker->nodes->pdata[i];
        if (g_str_equal(node->name, target_name(facts->operation))) {
            return node->online && !node->standby ? JUDGE_DONE : JUDGE_WAIT;
        }
    }
    return JUDGE_WAIT;
}

/* Done when every replica's node reports the new size, and the running guest was shown it (volume_grow.h). */
static Verdict judge_growth(const JudgeFacts *facts, char **ret_stage, GError **error)
{
    if (!facts->growth) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "%s was deleted meanwhile",
                    facts->operation->target);
        return JUDGE_FAILED;
    }
    if (facts->growth->done < facts->growth->total) {
        *ret_stage = g_strdup(facts->growth->stage);
        return JUDGE_WAIT;
    }
    return JUDGE_DONE;
}

/* Done when the new replica is in the record. There is no way back from here: what was given up is stale by now. */
static Verdict judge_replacement(const JudgeFacts *facts, char **ret_stage, GError **error)
{
    const Operation *operation = facts->operation;
    if (!facts->replacement || facts->replacement->superseded) {
        g_set_error(error, HOLDFAST_ERROR, facts->replacement ? HOLDFAST_ERROR_FAILED : HOLDFAST_ERROR_NOT_FOUND,
                    facts->replacement ? "%s: the replica on %s was replaced by another request meanwhile"
                                       : "%s was deleted meanwhile (the replica on %s with it)",
                    operation->target, operation->argument);
        return JUDGE_FAILED;
    }
    if (facts->replacement->complete) {
        return JUDGE_DONE;
    }
    *ret_stage = g_strdup(facts->replacement->stage);
    if (operation->cancel_requested) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
            "no longer waited for: the old replica was given up when this began, and the new one on %s is built "
            "all the same; 'holdfast guest replace-replica %s --from %s' puts it elsewhere",
            operation->argument, target_name(operation), operation->argument);
        return JUDGE_FAILED;
    }
    return JUDGE_WAIT;
}

/* What a dead driver leaves behind, and what to do about it. */
static const struct {
    const char *kind, *remedy;
} leftovers[] = {
    {"guest.stop", "the guest was not asked to shut down yet; ask again"},
    {"guest.migrate", "the guest runs on where 'holdfast guest show' says; ask again once holdfastd there is back"},
    {"fence.prove", "its fencing counts as unproven; see that the node is powered on, then prove it again"},
    {"image.import", "import the image again"},
    {"guest.verify", "compare again"},
};

/* A stop that has begun must be carried through (the guest may be off already, and Pacemaker would start it again), and
 * a standby or the removal of a node can go on from anywhere. The rest is tied to its node. */
static Verdict judge_driven(const JudgeFacts *facts, GError **error)
{
    const Operation *operation = facts->operation;
    gboolean begun_stop = g_str_equal(operation->kind, "guest.stop") &&
                          (g_strcmp0(operation->stage, OPERATION_STAGE_ACCEPTED) != 0 || operation->argument);
    const char *remedy = "look at the object and ask again";
    if (!facts->driver_gone) {
        return JUDGE_WAIT;
    }
    gboolean anywhere = g_str_equal(operation->kind, "node.standby") || g_str_equal(operation->kind, "node.remove");
    if (!operation->cancel_requested && (begun_stop || anywhere)) {
        return JUDGE_TAKE_OVER;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(leftovers); i++) {
        if (g_str_equal(leftovers[i].kind, operation->kind)) {
            remedy = leftovers[i].remedy;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                "holdfastd on %s, which was doing it, is gone (at: %s); %s", operation->node,
                operation->stage ? operation->stage : OPERATION_STAGE_ACCEPTED, remedy);
    return JUDGE_FAILED;
}

Verdict judge(const JudgeFacts *facts, char **ret_stage, GError **error)
{
    const Operation *operation = facts->operation;
    Verdict verdict = JUDGE_WAIT;
    if (operation->node) {
        return judge_driven(facts, error);
    }
    if (g_str_equal(operation->kind, "node.online")) {
        verdict = judge_online(facts);
    } else if (g_str_equal(operation->kind, "volume.grow")) {
        verdict = judge_growth(facts, ret_stage, error);
    } else if (g_str_equal(operation->kind, "guest.replace_replica")) {
        return judge_replacement(facts, ret_stage, error);
    } else if (g_str_has_prefix(operation->kind, "guest.")) {
        verdict = judge_guest(facts, ret_stage, error);
    }
    if (verdict == JUDGE_WAIT && operation->cancel_requested) {
        g_set_error_literal(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
            "no longer waited for; what was asked for still stands and can be changed by another request");
        return JUDGE_FAILED;
    }
    return verdict;
}

gboolean judge_proof_is_abandoned(const FenceDevice *device, const GPtrArray *operations)
{
    for (guint i = 0; i < operations->len; i++) {
        const Operation *operation = operations->pdata[i];
        if (operation->state == OPERATION_RUNNING && g_str_equal(operation->kind, "fence.prove") &&
            g_strcmp0(target_name(operation), device->node) == 0) {
            return FALSE;
        }
    }
    return device->state == FENCE_PROVING;
}

gboolean judge_absence_outlasts(gint64 *since_ms, gboolean present, gint64 now_ms, gint64 limit_ms)
{
    if (present) {
        *since_ms = 0;
        return FALSE;
    }
    if (*since_ms == 0) {
        *since_ms = now_ms;
    }
    return now_ms - *since_ms >= limit_ms;
}
