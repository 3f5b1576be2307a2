/* SPDX-License-Identifier: Apache-2.0
 * A joiner's etcd member: added as learner, promoted when it has caught up. Both repeatable. */
#include "cluster/etcd_conf.h"
#include "cluster/store_learner.h"
#include "common/error.h"
#include "node-agent/join_admit.h"

#include <string.h>

typedef enum { STEP_AGAIN, STEP_DONE } Step;

/* One try; *error says why it has to be tried again. */
static Step try_add(JoinAdmission *admission, const char *peer_url, GError **error)
{
    g_autoptr(GPtrArray) members = store_members(admission->store, error);
    if (!members) {
        return STEP_AGAIN;
    }
    return store_member_find(members, peer_url) || store_learner_add(admission->store, peer_url, error) ? STEP_DONE
                                                                                                        : STEP_AGAIN;
}

static Step try_promote(JoinAdmission *admission, const char *peer_url, GError **error)
{
    g_autoptr(GPtrArray) members = store_members(admission->store, error);
    const StoreMember *member = members ? store_member_find(members, peer_url) : NULL;
    if (!member) {
        if (members) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "etcd has no member at %s", peer_url);
        }
        return STEP_AGAIN;
    }
    return !member->learner || store_learner_promote(admission->store, member->id, error) ? STEP_DONE : STEP_AGAIN;
}

/* etcd refuses while a member that was just started counts as unhealthy (five seconds), while a leader is elected and,
 * for a promotion, until the learner has caught up: so try until the time is over and then report the last reason. */
static gboolean try_until(JoinAdmission *admission, Step (*step)(JoinAdmission *, const char *, GError **),
                          const char *what, GError **error)
{
    const SetupContext *context = admission->context;
    g_autofree char *peer_url = etcd_conf_peer_url(admission->node->ring0, context->etcd_peer_port);
    gint64 deadline_us = g_get_monotonic_time() + (gint64) context->wait_ms * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (step(admission, peer_url, &problem) == STEP_DONE) {
            return TRUE;
        }
        if (g_get_monotonic_time() > deadline_us || g_cancellable_is_cancelled(admission->cancellable)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "cannot %s etcd member %s: %s", what,
                        peer_url, problem->message);
            return FALSE;
        }
        if (!store_lease_keepalive(admission->store, admission->lock_lease, error)) {
            return FALSE;
        }
        g_usleep((gulong) context->poll_ms * 1000);
    }
}

gboolean join_admit_add_member(JoinAdmission *admission, GError **error)
{
    return !admission->node->voter || try_until(admission, try_add, "add", error);
}

gboolean join_admit_promote(JoinAdmission *admission, GError **error)
{
    return !admission->node->voter || try_until(admission, try_promote, "promote", error);
}
