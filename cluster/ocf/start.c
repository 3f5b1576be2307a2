/* SPDX-License-Identifier: Apache-2.0
 * OCF start: attach and connect, claim, promote, open the gates, launch the VMM. Each step looks first, so a repeated
 * start converges. */
#include "cluster/ocf/agent.h"
#include "cluster/ocf/claim.h"

#include "cluster/membership.h"
#include "common/error.h"
#include "common/lock.h"
#include "common/log.h"

/* How long a start waits for the peer's replica before it claims without it. */
#define CONNECT_WAIT_MS 1500
#define CONNECT_POLL_MS 100
#define QUORUM_TIMEOUT_MS 500
#define LOCK_TIMEOUT_MS 10000

/* After a fencing nobody will connect: do not wait for it. In doubt (no answer from corosync) wait. */
static gboolean peer_is_absent(const OcfAgent *agent)
{
    MembershipView view;
    return membership_query(QUORUM_TIMEOUT_MS, &view, NULL) && view.quorate &&
           !membership_view_has(&view, (guint32) agent->manifest->peer_id);
}

static void wait_for_peer(const OcfAgent *agent)
{
    if (agent->volumes.peer_absent) {
        return;
    }
    gint64 deadline_us = g_get_monotonic_time() + CONNECT_WAIT_MS * 1000;
    while (!volume_set_is_connected(&agent->volumes) && g_get_monotonic_time() < deadline_us) {
        g_usleep(CONNECT_POLL_MS * 1000);
    }
}

static gboolean discard_leftover_vmm(OcfAgent *agent, GError **error)
{
    if (agent->engine->query(agent->run_folder, agent->guest) == VMM_STOPPED) {
        return TRUE;
    }
    log_line(LOG_LEVEL_NOTICE, "guest '%s': discarding a VMM that was left here", agent->guest);
    return agent->engine->kill(agent->runner, agent->guest, error);
}

/* holdfastd may be bringing the same replica up just now: one after the other. */
static gboolean activate(const OcfAgent *agent, GError **error)
{
    LOCK_AUTO int lock = lock_take(agent->guest, LOCK_TIMEOUT_MS, error);
    return lock >= 0 && volume_set_activate(&agent->volumes, error);
}

/* Undo a start that failed after the claim, so that another node may try. What cannot be undone is left for stop, which
 * Pacemaker calls next. */
static void give_back(OcfAgent *agent)
{
    g_autoptr(GError) problem = NULL;
    if (!agent->engine->kill(agent->runner, agent->guest, &problem) || !volume_set_demote(&agent->volumes, &problem) ||
        !claim_release(agent, &problem)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': could not take back a failed start: %s", agent->guest,
                 problem->message);
    }
}

static gboolean promote_and_launch(OcfAgent *agent, GError **error)
{
    if (!volume_set_promote(&agent->volumes, error)) {
        return FALSE;
    }
    ocf_agent_step(agent, "promote");
    /* Pacemaker starts a guest once at a time. Should it ever not: the later claim wins, and this one has no VMM yet.
     */
    if (!claim_stands(agent, error)) {
        return FALSE;
    }
    if (!guest_launch(agent->runner, agent->manifest, FALSE, error)) {
        return FALSE;
    }
    ocf_agent_step(agent, "launch");
    return TRUE;
}

int ocf_start(OcfAgent *agent, GError **error)
{
    const char *why;
    if (!agent->manifest) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "guest '%s' has no replica on this node",
                    agent->guest);
        return OCF_ERR_INSTALLED;
    }
    if (ocf_agent_state(agent, &why) == OCF_STATE_RUNNING) {
        return OCF_SUCCESS;
    }
    /* Before anything is attached or connected: claim_start() asks again. */
    if (!guest_copy_trusted(agent->manifest, error)) {
        return OCF_ERR_GENERIC;
    }
    agent->volumes.peer_absent = agent->manifest->peer_node && peer_is_absent(agent);
    if (!discard_leftover_vmm(agent, error) || !activate(agent, error)) {
        return OCF_ERR_GENERIC;
    }
    if (agent->manifest->peer_node) {
        wait_for_peer(agent);
    }
    ocf_agent_step(agent, "activate");
    if (!claim_start(agent, error)) {
        return OCF_ERR_GENERIC;
    }
    ocf_agent_step(agent, "claim");
    if (!promote_and_launch(agent, error)) {
        give_back(agent);
        return OCF_ERR_GENERIC;
    }
    log_line(LOG_LEVEL_NOTICE, "guest '%s': started here (%s)", agent->guest, agent->timeline->str);
    return OCF_SUCCESS;
}
