/* SPDX-License-Identifier: Apache-2.0
 * OCF stop, monitor and validate. Stop and monitor need neither the store nor holdfastd. A stop succeeds only when it
 * is verified that no VMM is alive and no volume is Primary; anything else is a failure, and Pacemaker fences this
 * node: the right outcome. */
#include "cluster/ocf/agent.h"
#include "cluster/ocf/claim.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"

#include <sys/stat.h>
#include <time.h>

/* A guest that shuts down within this time is spared the power cut. Longer, graceful stops are done by holdfastd before
 * Pacemaker is asked: one slow action here would hold up fencing and recovery of the whole cluster. */
#define GRACE_MS 1200
#define GRACE_POLL_MS 50
#define FROZEN_LIMIT_MS 20000
#define DOUBT_LIMIT_MS 6000
#define DOUBT_POLL_MS 500
#define FROZEN_POLL_MS 200

static void ask_for_powerdown(const OcfAgent *agent)
{
    if (agent->engine->query(agent->run_folder, agent->guest) != VMM_RUNNING ||
        !agent->engine->powerdown(agent->run_folder, NULL)) {
        return;
    }
    gint64 deadline_us = g_get_monotonic_time() + GRACE_MS * 1000;
    while (g_get_monotonic_time() < deadline_us &&
           agent->engine->query(agent->run_folder, agent->guest) != VMM_STOPPED) {
        g_usleep(GRACE_POLL_MS * 1000);
    }
}

static void release_record(OcfAgent *agent)
{
    g_autoptr(GError) problem = NULL;
    if (!claim_release(agent, &problem)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': stopped cleanly but the store could not be told: %s", agent->guest,
                 problem->message);
    }
}

/* I/O that is frozen just now (the peer died a moment ago) is released as soon as the loss is recorded: giving up at
 * once would cost a healthy node. What stays frozen is given up, the node is fenced, and that is right. */
static gboolean demote_patiently(const OcfAgent *agent, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) FROZEN_LIMIT_MS * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        if (volume_set_demote(&agent->volumes, &problem)) {
            return TRUE;
        }
        int code = holdfast_error_code(problem);
        if ((code != HOLDFAST_ERROR_BUSY && code != HOLDFAST_ERROR_TIMEOUT) || g_get_monotonic_time() > deadline_us) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        g_usleep(FROZEN_POLL_MS * 1000);
    }
}

/* A VMM that does not die in time (much memory to give back, a hung device) loses its disk first, by its gates; then it
 * gets the rest of the time. */
static gboolean take_disk_and_kill(OcfAgent *agent, GError **error)
{
    g_autoptr(GError) slow = NULL;
    gboolean dead = agent->engine->kill(agent->runner, agent->guest, &slow);
    if (agent->manifest && !demote_patiently(agent, error)) {
        return FALSE;
    }
    if (!dead) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': its disks are taken away, but %s", agent->guest, slow->message);
    }
    return dead || agent->engine->kill(agent->runner, agent->guest, error);
}

int ocf_stop(OcfAgent *agent, GError **error)
{
    ask_for_powerdown(agent);
    ocf_agent_step(agent, "powerdown");
    if (!take_disk_and_kill(agent, error)) {
        return OCF_ERR_GENERIC;
    }
    if (!agent->manifest) {
        return OCF_SUCCESS;
    }
    if (ocf_agent_any_primary(agent)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                    "guest '%s': a volume is still Primary after demotion", agent->guest);
        return OCF_ERR_GENERIC;
    }
    ocf_agent_step(agent, "demote");
    guest_taps_remove(agent->runner, agent->manifest);
    /* Also when nothing was here: a start that was killed after its claim left nothing else. Others' records stay. */
    release_record(agent);
    ocf_agent_step(agent, "record");
    log_line(LOG_LEVEL_NOTICE, "guest '%s': stopped here (%s)", agent->guest, agent->timeline->str);
    return OCF_SUCCESS;
}

/* holdfastd is shutting this guest down gracefully and will set target-role=Stopped when its VMM has ended: until then
 * a recurring monitor must not take the ended VMM for a failure. The marker is believed for two minutes. */
static gboolean graceful_stop_under_way(const OcfAgent *agent)
{
    g_autofree char *path = g_build_filename(agent->run_folder, GUEST_STOPPING_MARKER, NULL);
    struct stat info;
    return stat(path, &info) == 0 && time(NULL) - info.st_mtime < 120;
}

int ocf_monitor(OcfAgent *agent, GError **error)
{
    const char *why;
    const char *interval = g_getenv("OCF_RESKEY_CRM_meta_interval");
    if (interval && !g_str_equal(interval, "0") && graceful_stop_under_way(agent)) {
        return OCF_SUCCESS;
    }
    gint64 deadline_us = g_get_monotonic_time() + (gint64) DOUBT_LIMIT_MS * 1000;
    OcfState state = ocf_agent_state(agent, &why);
    /* A VMM that is merely slow to answer is looked at again; a recurring monitor holds nobody up. */
    while (state == OCF_STATE_PARTIAL && interval && !g_str_equal(interval, "0") &&
           g_get_monotonic_time() < deadline_us) {
        g_usleep(DOUBT_POLL_MS * 1000);
        state = ocf_agent_state(agent, &why);
    }
    if (state != OCF_STATE_PARTIAL) {
        return state == OCF_STATE_RUNNING ? OCF_SUCCESS : OCF_NOT_RUNNING;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "guest '%s': %s", agent->guest, why);
    return OCF_ERR_GENERIC;
}

int ocf_validate(OcfAgent *agent, GError **error)
{
    return ident_check_name(agent->guest, "guest", error) ? OCF_SUCCESS : OCF_ERR_ARGS;
}
