/* SPDX-License-Identifier: Apache-2.0
 * Live migration, the part outside Pacemaker: check everything that could refuse, let the target prepare, copy memory
 * for as long as it takes, then ask Pacemaker for the hand-over by preferring the target. Runs on the source node. */
#include "node-agent/operation.h"

#include "cluster/ocf/guest_run.h"
#include "cluster/plan.h"
#include "common/error.h"
#include "common/file.h"
#include "node-agent/guest_document.h"
#include "storage/record.h"

#include <string.h>

#define PREPARE_TIMEOUT_MS 45000
#define POLL_MS 250
#define HANDOVER_TIMEOUT_MS 180000
#define REPORT_LIMIT_MS 10000
#define PRECOPY_LIMIT_MS (60 * 60 * 1000)

typedef struct {
    Daemon *daemon;
    Operation *operation;
    Manifest *manifest;
    const char *guest, *target;
    const VmmEngine *engine;
    char *run_folder;
} Migration;

/* Everything that could refuse is asked before anything is done. */
static gboolean check(const Migration *migration, GError **error)
{
    Record record;
    if (!record_read(migration->daemon->store, migration->guest, &record, NULL, error)) {
        return FALSE;
    }
    if (!record_is_in_sync(&record, migration->target)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "the replica on %s is not in sync; wait for its resync ('holdfast guest show %s')",
                    migration->target, migration->guest);
        return FALSE;
    }
    for (guint i = 0; i < migration->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&migration->manifest->guest, (int) i), &state, error)) {
            return FALSE;
        }
        /* A source that lost its disk is served by the target's, which then is all that is needed. */
        gboolean target_has_all =
            g_str_equal(state.connection, "Connected") && g_str_equal(state.peer_disk, "UpToDate");
        if (!drbd_state_is_up_to_date_pair(&state) && !target_has_all) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "volume %u is %s with disks %s/%s; the target's must be UpToDate", i, state.connection,
                        state.disk, state.peer_disk);
            return FALSE;
        }
    }
    if (migration->engine->query(migration->run_folder, migration->guest) != VMM_RUNNING) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "the guest does not run on this node");
        return FALSE;
    }
    return TRUE;
}

static gboolean target_call(const Migration *migration, const char *verb, GError **error)
{
    g_autoptr(json_t) arguments = json_pack("{s:s,s:s,s:s}", "guest", migration->guest, "node", migration->target, "id",
                                            migration->operation->id);
    g_autoptr(json_t) result =
        daemon_peer_call(migration->daemon, migration->target, verb, arguments, PREPARE_TIMEOUT_MS, error);
    return result != NULL;
}

static gboolean begin(const Migration *migration, GError **error)
{
    g_autofree char *id_path = g_build_filename(migration->run_folder, GUEST_MIGRATION_ID, NULL);
    operation_stage(migration->daemon, migration->operation, "%s prepares its side", migration->target);
    return target_call(migration, "migrate.prepare", error) &&
           file_write_durable(id_path, migration->operation->id, -1, 0600, error) &&
           migration->engine->migrate_begin(migration->run_folder, migration->manifest->peer_address,
                                            guest_migration_port(&migration->manifest->guest), migration->target,
                                            error);
}

/* One look at the copy. TRUE with *ret_nearly when it is time to hand over. */
static gboolean look(const Migration *migration, gboolean *ret_nearly, GError **error)
{
    g_auto(VmmMigration) state = {0};
    if (!migration->engine->migrate_query(migration->run_folder, &state, error)) {
        return FALSE;
    }
    if (g_str_equal(state.status, "failed") || g_str_equal(state.status, "cancelled") ||
        g_str_equal(state.status, "none")) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "copying memory ended as '%s'%s%s", state.status,
                    state.error ? ": " : "", state.error ? state.error : "");
        return FALSE;
    }
    *ret_nearly = vmm_migration_nearly_done(&state);
    operation_progress(migration->daemon, migration->operation, state.total_bytes - state.remaining_bytes,
                       state.total_bytes, "bytes");
    return TRUE;
}

static gboolean copy_memory(const Migration *migration, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) PRECOPY_LIMIT_MS * 1000;
    gboolean nearly = FALSE;
    operation_stage(migration->daemon, migration->operation, "copying memory to %s", migration->target);
    while (!nearly) {
        if (operation_cancel_requested(migration->daemon, migration->operation)) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED,
                                "cancelled; the guest goes on where it was");
            return FALSE;
        }
        if (g_get_monotonic_time() > deadline_us) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                                "the guest changes its memory faster than it can be copied");
            return FALSE;
        }
        if (!look(migration, &nearly, error)) {
            return FALSE;
        }
        if (!nearly) {
            g_usleep(POLL_MS * 1000);
        }
    }
    return migration->engine->migrate_hold(migration->run_folder, error);
}

static gboolean has_arrived(const Migration *migration)
{
    Record record = {0};
    return record_read(migration->daemon->store, migration->guest, &record, NULL, NULL) &&
           record.state == RECORD_RUNNING && g_str_equal(record.owner, migration->target);
}

/* Pacemaker moves it; done when the record has the target as running owner. */
static gboolean wait_for_handover(const Migration *migration, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) HANDOVER_TIMEOUT_MS * 1000;
    operation_stage(migration->daemon, migration->operation, "Pacemaker hands over to %s", migration->target);
    while (g_get_monotonic_time() < deadline_us) {
        if (has_arrived(migration)) {
            return TRUE;
        }
        g_usleep(POLL_MS * 1000);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                "Pacemaker did not hand the guest over within %d s; see 'crm_mon'", HANDOVER_TIMEOUT_MS / 1000);
    return FALSE;
}

/* The agent tells how long the guest stood still (migrate.report) just after the commit that we saw. */
static void wait_for_report(const Migration *migration)
{
    gint64 deadline_us = g_get_monotonic_time() + REPORT_LIMIT_MS * 1000;
    while (g_get_monotonic_time() < deadline_us) {
        g_autoptr(Operation) stored = operation_get(migration->daemon, migration->operation->id);
        if (stored && stored->downtime_ms > 0) {
            return;
        }
        g_usleep(POLL_MS * 1000);
    }
}

/* Not while a hand-over stands or after its commit: from there on the OCF agent alone knows whether the guest may go on
 * here. */
static void undo(const Migration *migration)
{
    Record record = {0};
    guest_unprefer(migration->daemon->store, migration->guest, migration->target, NULL);
    if (!record_read(migration->daemon->store, migration->guest, &record, NULL, NULL) ||
        record.handover_to[0] != '\0' || !g_str_equal(record.owner, migration->daemon->config->node)) {
        return;
    }
    migration->engine->migrate_cancel(migration->run_folder, NULL);
    target_call(migration, "migrate.abort", NULL);
}

static void run(Migration *migration)
{
    g_autoptr(GError) error = NULL;
    gboolean begun = FALSE;
    if (has_arrived(migration)) { /* we were restarted while Pacemaker moved it */
        operation_end(migration->daemon, migration->operation, NULL);
        return;
    }
    gboolean ok = check(migration, &error) && (begun = TRUE) && begin(migration, &error) &&
                  copy_memory(migration, &error) &&
                  guest_prefer(migration->daemon->store, migration->guest, migration->target, &error);
    if (ok) {
        daemon_kick_cluster(migration->daemon);
        ok = wait_for_handover(migration, &error);
    }
    if (!ok && begun) {
        undo(migration);
    }
    if (ok) {
        wait_for_report(migration);
    }
    operation_end(migration->daemon, migration->operation, error);
}

void drive_guest_migrate(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *guest = strchr(operation->target, '/') + 1;
    g_autoptr(Manifest) manifest = manifest_read(guest, &error);
    if (!manifest) {
        operation_end(daemon, operation, error);
        return;
    }
    g_autofree char *run_folder = guest_run_folder(guest);
    Migration migration = {
        .daemon = daemon,
        .operation = operation,
        .manifest = manifest,
        .guest = guest,
        .target = operation->argument,
        .engine = guest_engine(&manifest->guest),
        .run_folder = run_folder,
    };
    run(&migration);
}
