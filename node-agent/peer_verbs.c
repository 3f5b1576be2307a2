/* SPDX-License-Identifier: Apache-2.0
 * The target's part of a live migration, and outdating a replica for a Primary that lost us on the replication link. */
#include "node-agent/peer_verbs.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/copy_choice.h"
#include "node-agent/disk_care.h"
#include "node-agent/record_doubt.h"
#include "node-agent/replica_replace.h"
#include "node-agent/store_care.h"
#include "storage/lost_copy.h"
#include "storage/record.h"

#define LOCK_TIMEOUT_MS 10000
#define OUTDATE_TIMEOUT_MS 2500
#define OUTDATE_LOCK_TIMEOUT_MS 1500 /* the caller waits 2.5 s, and asks again */

typedef struct {
    Daemon *daemon;
    Manifest *manifest;
    VolumeSet set;
    const VmmEngine *engine;
    char *run_folder;
    const char *id;
    const json_t *arguments; /* borrowed */
} PeerWork;

/* A VMM that is here must be ours to touch: never one that runs. */
static gboolean refuse_if_running(const PeerWork *work, GError **error)
{
    VmmState state = work->engine->query(work->run_folder, work->manifest->guest.name);
    if (state == VMM_RUNNING || state == VMM_BROKEN) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' is %s here", work->manifest->guest.name,
                    vmm_state_name(state));
        return FALSE;
    }
    return TRUE;
}

static json_t *migrate_prepare(PeerWork *work, GError **error)
{
    const ProcessRunner *runner = work->daemon->runner;
    LOCK_AUTO int lock = lock_take(work->manifest->guest.name, LOCK_TIMEOUT_MS, error);
    if (lock < 0) {
        return NULL;
    }
    /* A copy that is not connected has to be recorded as absent first (await_mark.h): never connect it from here. */
    if (!volume_set_is_connected(&work->set)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "the copy of guest '%s' here is not connected",
                    work->manifest->guest.name);
        return NULL;
    }
    if (!refuse_if_running(work, error) || !work->engine->kill(runner, work->manifest->guest.name, error) ||
        !volume_set_activate(&work->set, error) || !guest_launch(runner, work->manifest, TRUE, error)) {
        return NULL;
    }
    return json_object();
}

/* The record must name us as the one it is being handed to, by this very id. */
static gboolean handover_is_ours(const PeerWork *work, GError **error)
{
    Record record;
    if (!record_read(work->daemon->store, work->manifest->guest.name, &record, NULL, error)) {
        return FALSE;
    }
    if (!g_str_equal(record.handover_to, work->daemon->config->node) || g_strcmp0(record.handover_id, work->id) != 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "the record does not hand guest '%s' over to this node", work->manifest->guest.name);
        return FALSE;
    }
    return TRUE;
}

static gboolean is_coming_in(const PeerWork *work, GError **error)
{
    VmmState state = work->engine->query(work->run_folder, work->manifest->guest.name);
    if (state != VMM_INCOMING) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s' is %s here, not coming in",
                    work->manifest->guest.name, vmm_state_name(state));
    }
    return state == VMM_INCOMING;
}

/* A stop may end the hand-over here at any moment: it kills the VMM, then demotes. So the VMM is looked at again after
 * the promotion: had the stop demoted before it, nobody else would demote. */
static json_t *migrate_take(PeerWork *work, GError **error)
{
    if (!handover_is_ours(work, error) || !is_coming_in(work, error) || !volume_set_promote(&work->set, error)) {
        return NULL;
    }
    if (!is_coming_in(work, error)) {
        volume_set_demote(&work->set, NULL);
        return NULL;
    }
    return json_object();
}

static json_t *migrate_ready(PeerWork *work, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
    gboolean ready = FALSE;
    while (!ready) {
        if (!work->engine->incoming_ready(work->run_folder, &ready, error)) {
            return NULL;
        }
        if (!ready && g_get_monotonic_time() > deadline_us) {
            g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "the incoming guest is not complete");
            return NULL;
        }
        if (!ready) {
            g_usleep(10 * 1000);
        }
    }
    return json_pack("{s:s}", "boot_id", ident_boot_id());
}

static json_t *migrate_go(PeerWork *work, GError **error)
{
    Record record;
    if (!record_read(work->daemon->store, work->manifest->guest.name, &record, NULL, error)) {
        return NULL;
    }
    if (record.state != RECORD_RUNNING || !g_str_equal(record.owner, work->daemon->config->node) ||
        !g_str_equal(record.owner_boot_id, ident_boot_id())) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "the record does not name this node as owner of '%s'", work->manifest->guest.name);
        return NULL;
    }
    return work->engine->resume(work->run_folder, error) ? json_object() : NULL;
}

/* Before the commit only: a target that owns the guest keeps it. */
static json_t *migrate_abort(PeerWork *work, GError **error)
{
    Record record;
    if (!record_read(work->daemon->store, work->manifest->guest.name, &record, NULL, error)) {
        return NULL;
    }
    if (record.state == RECORD_RUNNING && g_str_equal(record.owner, work->daemon->config->node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "this node owns guest '%s'",
                    work->manifest->guest.name);
        return NULL;
    }
    if (!refuse_if_running(work, error) ||
        !work->engine->kill(work->daemon->runner, work->manifest->guest.name, error) ||
        !volume_set_demote(&work->set, error)) {
        return NULL;
    }
    guest_taps_remove(work->daemon->runner, work->manifest);
    return json_object();
}

/* A disk that is gone cannot be marked Outdated: it may come back with the next boot and look current. The note
 * (storage/lost_copy.h) says the same; the handler wrote it, or it is written now. */
static gboolean lost_disks_noted(const PeerWork *work, GError **error)
{
    const Guest *guest = &work->manifest->guest;
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        LostCopy lost;
        int minor = guest_minor(guest, (int) i);
        if (!drbd_state_read(minor, &state, error)) {
            return FALSE;
        }
        if (!g_str_equal(state.disk, "Diskless") && !g_str_equal(state.disk, "Failed")) {
            continue;
        }
        lost_copy_look(LOST_COPY_ROOT, guest->name, ident_boot_id(), &lost);
        if (lost.n_names == 0 && !lost_copy_note(LOST_COPY_ROOT, guest->name, minor, ident_boot_id())) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED,
                        "guest '%s': the failed disk of volume %u cannot be noted in " LOST_COPY_ROOT, guest->name, i);
            return FALSE;
        }
    }
    return TRUE;
}

/* A disk that hangs takes no mark either, and drbdsetup would hang with it: the note alone keeps this copy from
 * starting. */
static json_t *hung_copy_note(const PeerWork *work, const LostCopy *lost, GError **error)
{
    const Guest *guest = &work->manifest->guest;
    DrbdResource resource = volume_set_resource(&work->set);
    if (!drbd_must_be_apart(&resource, error)) {
        return NULL;
    }
    if (!lost->held && !lost_copy_note(LOST_COPY_ROOT, guest->name, guest_minor(guest, 0), ident_boot_id())) {
        holdfast_error_fail(error, HOLDFAST_ERROR_FAILED,
                            "guest '%s': the hung disk cannot be noted in " LOST_COPY_ROOT, guest->name);
        return NULL;
    }
    log_line(LOG_LEVEL_WARNING, "guest '%s': the disk here hangs, this copy is noted as lost", guest->name);
    return json_pack("{s:b}", "outdated", 1);
}

/* Our replica is cut off from its Primary, which is alive: mark our disk Outdated, durably, before it writes on without
 * us. Under the guest's lock: a replica that is just being brought up is Diskless for a moment and not lost. */
static json_t *drbd_outdate_here(PeerWork *work, GError **error)
{
    DrbdResource resource = volume_set_resource(&work->set);
    LostCopy lost;
    LOCK_AUTO int lock = lock_take(work->manifest->guest.name, OUTDATE_LOCK_TIMEOUT_MS, error);
    if (lock < 0) {
        return NULL;
    }
    /* A note goes only with a connected, UpToDate pair, and then drbd_outdate() refuses. */
    lost_copy_look(LOST_COPY_ROOT, work->manifest->guest.name, ident_boot_id(), &lost);
    if (disk_care_verdict(work->daemon, work->manifest->guest.name) != DISK_WELL) {
        return hung_copy_note(work, &lost, error);
    }
    /* It may be about to hang: drbdsetup would hang with it, and every later one of this node behind that. The caller
     * asks again; either the disk has answered by then or it counts as hung. */
    if (drbd_disk_waits(&resource)) {
        holdfast_error_fail(error, HOLDFAST_ERROR_BUSY, "guest '%s': the disk here is busy",
                            work->manifest->guest.name);
        return NULL;
    }
    if (!drbd_outdate(&resource, lost.n_names > 0, error) || !lost_disks_noted(work, error)) {
        return NULL;
    }
    log_line(LOG_LEVEL_WARNING, "guest '%s': replica here is outdated, its Primary lost the replication link",
             work->manifest->guest.name);
    return json_pack("{s:b}", "outdated", 1);
}

static gboolean mark_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    return record_mark(before, ident_node_name(), ident_boot_id(), user_data, after, reason, reason_size);
}

/* The node of the other copy is back and waits, unconnected, for its absence to be recorded. Usually our fence-peer
 * handler is at it; should that have died, this does the same: the peer outdates its copy and confirms, then it is
 * recorded. DRBD thaws when the outdated copy connects. */
static json_t *replica_mark(PeerWork *work, GError **error)
{
    const Guest *guest = &work->manifest->guest;
    char *peer = work->manifest->peer_node;
    g_autoptr(json_t) arguments = json_pack("{s:s}", "guest", guest->name);
    if (!peer || !volume_set_is_primary(&work->set) || volume_set_is_connected(&work->set)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s': not Primary here without its other copy: nothing to record", guest->name);
        return NULL;
    }
    Record record;
    if (!record_read(work->daemon->store, guest->name, &record, NULL, error)) {
        return NULL;
    }
    if (record.unconfirmed[0]) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s': the record is in doubt after a rescue of the store and takes no mark: 'holdfast guest "
                    "confirm' ends that",
                    guest->name);
        return NULL;
    }
    g_autoptr(json_t) outdated =
        daemon_peer_call(work->daemon, peer, "drbd.outdate", arguments, OUTDATE_TIMEOUT_MS, error);
    if (!outdated || !record_update(work->daemon->store, guest->name, mark_rule, peer, NULL, NULL, error)) {
        return NULL;
    }
    return json_pack("{s:b}", "marked", 1);
}

/* An operator says that the disk here works again. The note stays and keeps the guest from starting here; only the ban
 * on attaching is lifted, and what follows is reconcile_guest()'s. */
static json_t *disk_reattach(PeerWork *work, GError **error)
{
    const char *name = work->manifest->guest.name;
    LostCopy lost;
    lost_copy_look(LOST_COPY_ROOT, name, ident_boot_id(), &lost);
    if (lost.n_names > 0 && !lost_copy_release(LOST_COPY_ROOT, name, &lost)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "guest '%s': cannot write in " LOST_COPY_ROOT, name);
        return NULL;
    }
    daemon_kick_guest(work->daemon, name);
    return json_pack("{s:b}", "released", lost.n_names > 0);
}

static json_t *replica_look(PeerWork *work, GError **error)
{
    return replica_sight_json(work->manifest, error);
}

static json_t *replica_renew(PeerWork *work, GError **error)
{
    return record_doubt_renew(work->daemon, work->manifest, error);
}

static json_t *replica_force(PeerWork *work, GError **error)
{
    return copy_choice_force_here(work->daemon, &work->set, work->manifest, error);
}

static json_t *replica_discard(PeerWork *work, GError **error)
{
    return copy_choice_discard_here(work->daemon, &work->set, work->manifest, error);
}

static json_t *replica_replace(PeerWork *work, GError **error)
{
    return replica_replace_here(work->daemon, work->manifest, work->arguments, error);
}

static const struct {
    const char *verb;
    json_t *(*run)(PeerWork *work, GError **error);
} verbs[] = {
    {"migrate.prepare", migrate_prepare}, {"migrate.take", migrate_take},   {"migrate.ready", migrate_ready},
    {"migrate.go", migrate_go},           {"migrate.abort", migrate_abort}, {"drbd.outdate", drbd_outdate_here},
    {"disk.reattach", disk_reattach},     {"replica.mark", replica_mark},   {"replica.look", replica_look},
    {"replica.renew", replica_renew},     {"replica.force", replica_force}, {"replica.discard", replica_discard},
    {"replica.replace", replica_replace},
};

json_t *peer_verb_run(Daemon *daemon, const char *verb, json_t *arguments, GError **error)
{
    const char *guest = json_string_value(json_object_get(arguments, "guest"));
    if (g_str_equal(verb, "store.snapshots")) {
        return store_care_list(daemon);
    }
    if (g_str_equal(verb, "store.snapshot")) {
        return store_care_take(daemon, error);
    }
    for (gsize i = 0; guest && i < G_N_ELEMENTS(verbs); i++) {
        if (!g_str_equal(verbs[i].verb, verb)) {
            continue;
        }
        g_autoptr(Manifest) manifest = manifest_read(guest, error);
        if (!manifest) {
            return NULL;
        }
        g_autofree char *run_folder = guest_run_folder(guest);
        PeerWork work = {
            .daemon = daemon,
            .manifest = manifest,
            .set = guest_volume_set(daemon->runner, manifest),
            .engine = guest_engine(&manifest->guest),
            .run_folder = run_folder,
            .id = json_string_value(json_object_get(arguments, "id")),
            .arguments = arguments,
        };
        return verbs[i].run(&work, error);
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNSUPPORTED, "peer verb '%s' is not known here or names no guest",
                verb);
    return NULL;
}
