/* SPDX-License-Identifier: Apache-2.0
 * The OCF agent: what its actions share. */
#include "cluster/ocf/agent.h"

#include "common/error.h"

gboolean ocf_agent_open(OcfAgent *agent, const char *guest, GError **error)
{
    g_autoptr(GError) problem = NULL;
    *agent = (OcfAgent){.guest = guest, .runner = process_runner_default(), .mark_us = g_get_monotonic_time()};
    agent->timeline = g_string_new(NULL);
    agent->run_folder = guest_run_folder(guest);
    agent->manifest = manifest_read(guest, &problem);
    if (!agent->manifest && !g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (agent->manifest) {
        agent->volumes = guest_volume_set(agent->runner, agent->manifest);
        agent->engine = guest_engine(&agent->manifest->guest);
    } else {
        agent->engine = vmm_engine_find("qemu");
    }
    return TRUE;
}

void ocf_agent_close(OcfAgent *agent)
{
    g_clear_pointer(&agent->manifest, manifest_free);
    g_clear_pointer(&agent->store, store_free);
    g_clear_pointer(&agent->run_folder, g_free);
    if (agent->timeline) {
        g_string_free(g_steal_pointer(&agent->timeline), TRUE);
    }
}

Store *ocf_agent_store(OcfAgent *agent, GError **error)
{
    if (!agent->store) {
        agent->store = store_new_for_node(error);
    }
    return agent->store;
}

void ocf_agent_step(OcfAgent *agent, const char *step)
{
    gint64 now_us = g_get_monotonic_time();
    g_string_append_printf(agent->timeline, "%s%s %" G_GINT64_FORMAT " ms", agent->timeline->len ? ", " : "", step,
                           (now_us - agent->mark_us) / 1000);
    agent->mark_us = now_us;
}

gboolean ocf_agent_any_primary(const OcfAgent *agent)
{
    for (guint i = 0; agent->manifest && i < agent->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(&agent->manifest->guest, (int) i), &state, NULL) && state.present &&
            g_str_equal(state.role, "Primary")) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean any_suspended(const OcfAgent *agent)
{
    for (guint i = 0; agent->manifest && i < agent->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(&agent->manifest->guest, (int) i), &state, NULL) && state.suspended) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Rule 2 of the agent: running if the VMM is alive OR a volume is Primary. An incoming VMM on closed gates is not
 * running: it can write nothing, and a start here discards it. */
OcfState ocf_agent_state(OcfAgent *agent, const char **ret_why)
{
    VmmState vmm = agent->engine->query(agent->run_folder, agent->guest);
    gboolean primary = ocf_agent_any_primary(agent);
    *ret_why = "";
    switch (vmm) {
    case VMM_RUNNING:
    case VMM_PAUSED:
        return OCF_STATE_RUNNING;
    case VMM_INCOMING:
    case VMM_STOPPED:
        if (primary) {
            *ret_why = "no VMM runs but a volume is still Primary here";
            return OCF_STATE_PARTIAL;
        }
        return OCF_STATE_STOPPED;
    case VMM_BROKEN:
        if (any_suspended(agent)) {
            return OCF_STATE_RUNNING; /* its I/O is frozen, and with it perhaps its monitor: the handler's business, not
                                         a failure */
        }
        break;
    }
    *ret_why = "the VMM is alive but does not answer or has failed";
    return OCF_STATE_PARTIAL;
}
