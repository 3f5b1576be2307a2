/* SPDX-License-Identifier: Apache-2.0
 * OCF migrate_to and migrate_from: the hand-over inside Pacemaker of a guest whose memory was copied before outside it.
 *
 * The order is the safety. Before the commit (owner = target in the record) every failure discards the target, takes
 * the disk back and lets the guest go on here; after it the source never resumes, whatever happens. An outcome of the
 * commit that cannot be read back leaves the guest paused on both sides: nobody runs until the store answers. The
 * target's part is done by its holdfastd, reached through ours. */
#include "cluster/ocf/agent.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/local_call.h"
#include "common/log.h"
#include "storage/record.h"

#define SWITCHOVER_TIMEOUT_MS 10000
#define FINISH_TIMEOUT_MS 15000
#define PEER_TIMEOUT_MS 10000
/* A hand-over that Pacemaker asks for by itself (raw standby) has no pre-copy yet: it gets this long, then the guest is
 * restarted cold. */
#define PRECOPY_LIMIT_MS 20000

typedef struct {
    OcfAgent *agent;
    const char *target;
    char *id;
    char *target_boot_id;
    gint64 paused_us;
} Handover;

static json_t *target_call(const Handover *handover, const char *verb, int timeout_ms, GError **error)
{
    g_autoptr(json_t) arguments =
        json_pack("{s:s,s:s,s:s}", "guest", handover->agent->guest, "node", handover->target, "id", handover->id);
    return local_call(LOCAL_CALL_SOCKET, verb, arguments, timeout_ms, error);
}

static gboolean target_do(const Handover *handover, const char *verb, GError **error)
{
    g_autoptr(json_t) result = target_call(handover, verb, PEER_TIMEOUT_MS, error);
    return result != NULL;
}

static gboolean begin_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Handover *handover = user_data;
    return record_handover_begin(before, ident_node_name(), ident_boot_id(), handover->target, handover->id, after,
                                 reason, reason_size);
}

static gboolean commit_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Handover *handover = user_data;
    return record_handover_commit(before, handover->id, handover->target_boot_id, after, reason, reason_size);
}

static gboolean rollback_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Handover *handover = user_data;
    return record_handover_rollback(before, handover->id, after, reason, reason_size);
}

/* Pre-copy, if nobody did it before Pacemaker was asked. */
static gboolean ensure_precopy(Handover *handover, GError **error)
{
    g_auto(VmmMigration) migration = {0};
    OcfAgent *agent = handover->agent;
    if (agent->engine->migrate_query(agent->run_folder, &migration, NULL) &&
        (g_str_equal(migration.status, "active") || g_str_equal(migration.status, "pre-switchover"))) {
        return TRUE;
    }
    g_autoptr(json_t) arguments = json_pack("{s:s,s:s,s:s,s:i}", "guest", agent->guest, "node", handover->target, "id",
                                            handover->id, "limit_ms", PRECOPY_LIMIT_MS);
    g_autoptr(json_t) result =
        local_call(LOCAL_CALL_SOCKET, "migrate.precopy", arguments, PRECOPY_LIMIT_MS + 5000, error);
    return result != NULL;
}

/* Pause here, give the disk away, and let the target take it. */
static gboolean give_disk(Handover *handover, GError **error)
{
    OcfAgent *agent = handover->agent;
    if (!agent->engine->migrate_switchover(agent->run_folder, SWITCHOVER_TIMEOUT_MS, error)) {
        return FALSE;
    }
    handover->paused_us = g_get_monotonic_time();
    ocf_agent_step(agent, "pause");
    if (!volume_set_demote(&agent->volumes, error)) {
        return FALSE;
    }
    ocf_agent_step(agent, "demote");
    if (!target_do(handover, "migrate.take", error)) {
        return FALSE;
    }
    ocf_agent_step(agent, "promote at target");
    return TRUE;
}

static gboolean send_rest(Handover *handover, GError **error)
{
    OcfAgent *agent = handover->agent;
    if (!agent->engine->migrate_finish(agent->run_folder, FINISH_TIMEOUT_MS, error)) {
        return FALSE;
    }
    ocf_agent_step(agent, "last pages");
    g_autoptr(json_t) ready = target_call(handover, "migrate.ready", PEER_TIMEOUT_MS, error);
    const char *boot_id = json_string_value(json_object_get(ready, "boot_id"));
    if (!boot_id) {
        if (ready) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "the target did not say its boot id");
        }
        return FALSE;
    }
    handover->target_boot_id = g_strdup(boot_id);
    ocf_agent_step(agent, "ready");
    return TRUE;
}

/* The disk comes back only when the target surely has let go of it: its daemon says so, or DRBD, connected, shows it as
 * Secondary. */
static gboolean take_disk_back(Handover *handover, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (!target_do(handover, "migrate.abort", &problem)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': target %s did not confirm the abort: %s", handover->agent->guest,
                 handover->target, problem->message);
    }
    return volume_set_promote(&handover->agent->volumes, error);
}

/* The engine refuses to cancel a copy that is complete, since the target might run; here it is known that the commit
 * did not happen. */
static gboolean go_on_here(const OcfAgent *agent, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (agent->engine->migrate_cancel(agent->run_folder, &problem)) {
        return TRUE;
    }
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED)) {
        return agent->engine->resume(agent->run_folder, error);
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static void roll_back(Handover *handover)
{
    OcfAgent *agent = handover->agent;
    g_autoptr(GError) problem = NULL;
    if (!take_disk_back(handover, &problem) || !go_on_here(agent, &problem) ||
        !record_update(agent->store, agent->guest, rollback_rule, handover, NULL, NULL, &problem)) {
        log_line(LOG_LEVEL_ERROR,
                 "guest '%s': hand-over failed and could not be rolled back, Pacemaker will restart it: %s",
                 agent->guest, problem->message);
    }
}

static void report(Handover *handover)
{
    OcfAgent *agent = handover->agent;
    int downtime_ms = (int) ((g_get_monotonic_time() - handover->paused_us) / 1000);
    g_autoptr(json_t) arguments = json_pack("{s:s,s:s,s:i,s:s}", "guest", agent->guest, "id", handover->id,
                                            "downtime_ms", downtime_ms, "timeline", agent->timeline->str);
    g_autoptr(json_t) ignored = local_call(LOCAL_CALL_SOCKET, "migrate.report", arguments, 2000, NULL);
    log_line(LOG_LEVEL_NOTICE, "guest '%s': handed over to %s in %d ms (%s)", agent->guest, handover->target,
             downtime_ms, agent->timeline->str);
}

static int hand_over(Handover *handover, GError **error)
{
    OcfAgent *agent = handover->agent;
    if (!ensure_precopy(handover, error)) {
        return OCF_ERR_GENERIC;
    }
    if (!record_update(agent->store, agent->guest, begin_rule, handover, NULL, NULL, error)) {
        agent->engine->migrate_cancel(agent->run_folder, NULL);
        return OCF_ERR_GENERIC;
    }
    ocf_agent_step(agent, "announce");
    if (!give_disk(handover, error) || !send_rest(handover, error)) {
        roll_back(handover);
        return OCF_ERR_GENERIC;
    }
    g_autoptr(GError) problem = NULL;
    if (!record_update(agent->store, agent->guest, commit_rule, handover, NULL, NULL, &problem)) {
        gboolean unknown = g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT) ||
                           g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE);
        g_propagate_error(error, g_steal_pointer(&problem));
        if (!unknown) {
            roll_back(handover);
        }
        return OCF_ERR_GENERIC; /* unknown: both stay paused, stop on both sides and a claim decide */
    }
    ocf_agent_step(agent, "commit");
    if (!target_do(handover, "migrate.go", &problem)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s owns it but did not confirm to run it yet: %s", agent->guest,
                 handover->target, problem->message);
    }
    ocf_agent_step(agent, "resume at target");
    report(handover);
    return OCF_SUCCESS;
}

/* The id of the pre-copy that holdfastd began, or a new one for a hand-over that Pacemaker asked for by itself. */
static char *handover_id(const OcfAgent *agent)
{
    g_autofree char *path = g_build_filename(agent->run_folder, GUEST_MIGRATION_ID, NULL);
    char *id = NULL;
    if (g_file_get_contents(path, &id, NULL, NULL) && *g_strstrip(id)) {
        return id;
    }
    g_free(id);
    return ident_new_uuid();
}

int ocf_migrate_to(OcfAgent *agent, const char *target, GError **error)
{
    Record record;
    const char *why;
    if (!agent->manifest || !target || g_strcmp0(target, agent->manifest->peer_node) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' has no replica on %s", agent->guest,
                    target ? target : "(no target given)");
        return OCF_ERR_GENERIC;
    }
    if (!ocf_agent_store(agent, error) || !record_read(agent->store, agent->guest, &record, NULL, error)) {
        return OCF_ERR_GENERIC;
    }
    if (record.state == RECORD_RUNNING && g_str_equal(record.owner, target)) {
        return OCF_SUCCESS; /* a new DC repeats the request; it was done already */
    }
    if (ocf_agent_state(agent, &why) != OCF_STATE_RUNNING) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "guest '%s' does not run here", agent->guest);
        return OCF_ERR_GENERIC;
    }
    Handover handover = {.agent = agent, .target = target, .id = handover_id(agent)};
    int code = hand_over(&handover, error);
    g_free(handover.id);
    g_free(handover.target_boot_id);
    return code;
}

/* On the target, after the source's migrate_to. The guest runs already, unless migrate.go got lost. */
int ocf_migrate_from(OcfAgent *agent, GError **error)
{
    VmmState vmm = agent->engine->query(agent->run_folder, agent->guest);
    if (vmm == VMM_RUNNING) {
        return OCF_SUCCESS;
    }
    Record record;
    if (!ocf_agent_store(agent, error) || !record_read(agent->store, agent->guest, &record, NULL, error)) {
        return OCF_ERR_GENERIC;
    }
    gboolean ours = record.state == RECORD_RUNNING && g_str_equal(record.owner, ident_node_name()) &&
                    g_str_equal(record.owner_boot_id, ident_boot_id()) && record.handover_to[0] == '\0';
    if (ours && vmm == VMM_PAUSED) {
        return agent->engine->resume(agent->run_folder, error) ? OCF_SUCCESS : OCF_ERR_GENERIC;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "guest '%s': no migrated VMM of ours here (%s)",
                agent->guest, vmm_state_name(vmm));
    return OCF_ERR_GENERIC;
}
