/* SPDX-License-Identifier: Apache-2.0
 * One guest on this node: manifest, replica, gates, first data, what the running owner has to write into the in-sync
 * record (marks and clears), what follows from a disk that failed here, and removal. */
#include "node-agent/reconcile.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/await_mark.h"
#include "node-agent/copy_choice.h"
#include "node-agent/disk_care.h"
#include "node-agent/give_way.h"
#include "node-agent/leave_lost_disk.h"
#include "node-agent/images.h"
#include "node-agent/pool_care.h"
#include "node-agent/record_doubt.h"
#include "node-agent/resync.h"
#include "node-agent/store_care.h"
#include "node-agent/volume_grow.h"
#include "storage/lost_copy.h"
#include "storage/record.h"
#include "storage/split_brain.h"
#include "vmm/network.h"

#include <string.h>

#define LOCK_TIMEOUT_MS 5000
/* Without any change everything is looked at again this often. */
#define FULL_ROUND_US (60 * G_USEC_PER_SEC)

static char *replication_address(Daemon *daemon, const char *name, gint64 *ret_id)
{
    g_autofree char *key = g_strconcat("node/", name, NULL);
    g_autoptr(Node) node = cache_object(daemon->cache, &node_type, key, NULL);
    if (!node) {
        return NULL;
    }
    *ret_id = node->id;
    return g_strdup(node->ring1 ? node->ring1 : node->ring0);
}

/* The manifest as it should be, from the store. NULL: something it needs is not in the store (yet). */
static Manifest *manifest_build(Daemon *daemon, const char *name)
{
    g_autoptr(Manifest) manifest = object_new(&manifest_type);
    g_autofree char *key = g_strconcat("guest/", name, NULL);
    g_autofree char *volume_prefix = g_strdup_printf("volume/%s-", name);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, NULL);
    gint64 own_id = 0;
    if (!guest) {
        return NULL;
    }
    g_autoptr(GPtrArray) volumes = cache_objects(daemon->cache, &volume_type, volume_prefix);
    manifest->version = 1;
    manifest->address = replication_address(daemon, daemon->config->node, &own_id);
    manifest->peer_node = g_strdup(guest_peer_node(guest, daemon->config->node));
    if (manifest->peer_node) {
        manifest->peer_address = replication_address(daemon, manifest->peer_node, &manifest->peer_id);
    }
    manifest->bridges = g_new0(char *, guest->spec.nics->len + 1);
    for (guint i = 0; i < guest->spec.nics->len; i++) {
        const GuestNic *nic = g_ptr_array_index(guest->spec.nics, i);
        manifest->bridges[i] = network_bridge_name(nic->network);
    }
    json_struct_clear(&guest_type, &manifest->guest);
    manifest->guest = *guest;
    memset(guest, 0, sizeof(*guest));
    /* "web1-0" also matches the prefix of a guest "web1-0-x": keep only this guest's own, in order of index. */
    for (gint64 index = 0; index < GUEST_VOLUMES_MAX; index++) {
        for (guint i = 0; i < volumes->len; i++) {
            Volume *volume = volumes->pdata[i];
            if (volume && volume->index == index && g_str_equal(volume->guest, name)) {
                g_ptr_array_add(manifest->volumes, volume);
                volumes->pdata[i] = NULL;
            }
        }
    }
    if (!manifest->address || (manifest->peer_node && !manifest->peer_address) ||
        manifest->volumes->len != manifest->guest.spec.volumes->len) {
        return NULL;
    }
    return g_steal_pointer(&manifest);
}

typedef struct {
    Daemon *daemon;
    Manifest *manifest;
    VolumeSet set;
    gboolean have_record;
    Record record;
    gint64 record_revision;
    LostCopy lost;
} GuestWork;

static GuestStatus *peer_status(const GuestWork *work)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", work->manifest->peer_node, work->manifest->guest.name);
    return cache_object(work->daemon->cache, &guest_status_type, key, NULL);
}

static void status_publish(const GuestWork *work, gboolean ready, gboolean gone, const char *condition)
{
    Daemon *daemon = work->daemon;
    const char *name = work->manifest->guest.name;
    g_autoptr(GuestStatus) status = object_new(&guest_status_type);
    g_autoptr(GError) error = NULL;
    g_autofree char *run_folder = guest_run_folder(name);
    status->version = 1;
    status->node = g_strdup(daemon->config->node);
    status->guest = g_strdup(name);
    status->boot_id = g_strdup(ident_boot_id());
    status->ready = ready;
    status->gone = gone;
    status->condition = g_strdup(condition ? condition : "");
    status->vmm = g_strdup(vmm_state_name(guest_engine(&work->manifest->guest)->query(run_folder, name)));
    if (!gone) {
        volume_set_status(&work->set, status->volumes);
        resync_fill(daemon, name, status->volumes);
        volume_grow_fill_status(guest_engine(&work->manifest->guest), run_folder, status);
    }
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/guest/%s", daemon->config->node, name);
    g_autofree char *text = object_to_text(&guest_status_type, status);
    if (!daemon_publish(daemon, key, text, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': status not published: %s", name, error->message);
    }
}

typedef struct {
    GuestWork *work;
    gint64 reported_us;
    GCancellable *cancellable; /* when the guest is not wanted any more */
} FillProgress;

static void fill_report(FillProgress *progress, const char *text)
{
    const GuestWork *work = progress->work;
    g_autofree char *key = g_strconcat("guest/", work->manifest->guest.name, NULL);
    g_autoptr(Guest) guest = cache_object(work->daemon->cache, &guest_type, key, NULL);
    status_publish(work, TRUE, FALSE, text);
    if (!guest || guest->deleting) {
        g_cancellable_cancel(progress->cancellable);
    }
}

static void on_fetch_progress(const char *text, gpointer user_data)
{
    fill_report(user_data, text);
}

static void on_fill_progress(gint64 done_bytes, gint64 total_bytes, gpointer user_data)
{
    FillProgress *progress = user_data;
    gint64 now_us = g_get_monotonic_time();
    if (now_us - progress->reported_us > G_USEC_PER_SEC) {
        progress->reported_us = now_us;
        g_autofree char *text = g_strdup_printf("writing the image: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " MiB",
                                                done_bytes >> 20, total_bytes >> 20);
        fill_report(progress, text);
    }
}

static gboolean initialised_rule(const Record *before, gpointer user_data, Record *after, char *reason,
                                 gsize reason_size)
{
    const GuestWork *work = user_data;
    if (before->state != RECORD_NEW || before->unconfirmed[0]) {
        g_snprintf(reason, reason_size, "the volumes were initialised already, or may have been");
        return FALSE;
    }
    *after = *before;
    after->generation++;
    after->state = RECORD_STOPPED;
    g_strlcpy(after->in_sync[0], work->manifest->guest.nodes[0], RECORD_NAME_MAX);
    if (work->manifest->guest.nodes[1]) {
        g_strlcpy(after->in_sync[1], work->manifest->guest.nodes[1], RECORD_NAME_MAX);
    }
    return TRUE;
}

static gboolean all_up_to_date(const GuestWork *work)
{
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&work->manifest->guest, (int) i), &state, NULL) ||
            !drbd_state_is_up_to_date_pair(&state)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* First data, by nodes[0] alone, once both sides are there. A kill anywhere in between leaves RECORD_NEW, and all is
 * done again. */
static gboolean initialise(GuestWork *work, GError **error)
{
    Daemon *daemon = work->daemon;
    const Guest *guest = &work->manifest->guest;
    if (!g_str_equal(guest->nodes[0], daemon->config->node)) {
        return TRUE;
    }
    if (work->manifest->peer_node) {
        g_autoptr(GuestStatus) peer = peer_status(work);
        if (!peer || !peer->ready || !volume_set_is_connected(&work->set)) {
            return TRUE;
        }
    }
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    FillProgress progress = {.work = work, .cancellable = cancellable};
    if (!images_ensure(daemon, work->manifest->volumes, on_fetch_progress, &progress, cancellable, error) ||
        !volume_set_initialise(&work->set, on_fill_progress, &progress, cancellable, error)) {
        return FALSE;
    }
    if (work->manifest->peer_node && !all_up_to_date(work)) {
        return TRUE; /* the peer was away meanwhile: wait for its resync, then once more */
    }
    if (!record_update(daemon->store, guest->name, initialised_rule, work, NULL, &work->record, error)) {
        return FALSE;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(daemon, "guest.initialised", object, "volumes are ready on %s%s%s", guest->nodes[0],
                 guest->nodes[1] ? " and " : "", guest->nodes[1] ? guest->nodes[1] : "");
    return TRUE;
}

/* The record names us, in this life, as the running owner, and no hand-over stands: only then may we change who is in
 * sync. */
static gboolean we_own_it(const GuestWork *work)
{
    return work->manifest->peer_node && work->have_record && work->record.state == RECORD_RUNNING &&
           work->record.handover_to[0] == '\0' && !work->record.unconfirmed[0] &&
           g_str_equal(work->record.owner, ident_node_name()) &&
           g_str_equal(work->record.owner_boot_id, ident_boot_id());
}

static gboolean clear_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const GuestWork *work = user_data;
    /* Against the very generation that was read before looking at DRBD: a mark in between makes this a new situation.
     */
    if (before->generation != work->record.generation) {
        g_snprintf(reason, reason_size, "the record moved on");
        return FALSE;
    }
    return record_clear(before, ident_node_name(), ident_boot_id(), work->manifest->peer_node, after, reason,
                        reason_size);
}

/* Every volume is connected and UpToDate on both nodes while somebody writes to it: the two copies are one. */
static gboolean copies_are_equal(const GuestWork *work, gboolean *ret_primary_here)
{
    *ret_primary_here = TRUE;
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&work->manifest->guest, (int) i), &state, NULL) ||
            !drbd_state_is_up_to_date_pair(&state) ||
            (!g_str_equal(state.role, "Primary") && !g_str_equal(state.peer_role, "Primary"))) {
            return FALSE;
        }
        *ret_primary_here &= g_str_equal(state.role, "Primary");
    }
    return TRUE;
}

/* Rule "clear": the resync is complete on every volume and we are the owner: both copies may be trusted again. A copy
 * whose disk had failed first loses its note, then enters the record: named there and yet unable to start it would be
 * no protection. So we wait until neither node has one; the peer's "ready" says so. FALSE: waiting. */
static gboolean clear_after_resync(GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    const char *peer = work->manifest->peer_node;
    gboolean primary_here = FALSE;
    if (!we_own_it(work) ||
        (record_is_in_sync(&work->record, peer) && record_is_in_sync(&work->record, ident_node_name())) ||
        !copies_are_equal(work, &primary_here) || !primary_here) {
        return TRUE;
    }
    g_autoptr(GuestStatus) status = peer_status(work);
    if (work->lost.stands || !status || !status->ready) {
        return FALSE;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    if (record_update(work->daemon->store, guest->name, clear_rule, work, NULL, NULL, &error)) {
        /* The black box knows these words (blackbox_fact.c). */
        daemon_event(work->daemon, "guest.protected", object, "replica on %s is in sync again",
                     record_is_in_sync(&work->record, peer) ? ident_node_name() : peer);
    } else {
        log_line(LOG_LEVEL_INFO, "guest '%s': the copies stay out of sync: %s", guest->name, error->message);
    }
    return TRUE;
}

static gboolean mark_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const GuestWork *work = user_data;
    return record_mark(before, ident_node_name(), ident_boot_id(), work->manifest->peer_node, after, reason,
                       reason_size);
}

/* A replica that leaves gracefully never calls the fence-peer handler here: DRBD knows its disk for Outdated and writes
 * go on. The record must say the same. An unknown peer disk is not ours to judge: that is the handler's case, with its
 * stronger conditions. */
/* FALSE: it has to be done and could not be; to be tried again at once. */
static gboolean mark_known_stale_peer(GuestWork *work)
{
    static const char *const stale[] = {"Outdated", "Inconsistent", "Diskless", "Failed", NULL};
    const Guest *guest = &work->manifest->guest;
    gboolean known_stale = FALSE, own_whole = TRUE;
    if (!we_own_it(work) || !record_is_in_sync(&work->record, work->manifest->peer_node)) {
        return TRUE;
    }
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(guest, (int) i), &state, NULL) && g_str_equal(state.role, "Primary")) {
            known_stale |= g_strv_contains(stale, state.peer_disk);
        }
        own_whole &= g_str_equal(state.disk, "UpToDate");
    }
    g_autoptr(GError) error = NULL;
    if (!known_stale || !own_whole ||
        record_update(work->daemon->store, guest->name, mark_rule, work, NULL, NULL, &error)) {
        return TRUE;
    }
    log_line(LOG_LEVEL_WARNING, "guest '%s': %s could not be recorded as out of sync: %s", guest->name,
             work->manifest->peer_node, error->message);
    return FALSE;
}

static gboolean self_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const GuestWork *work = user_data;
    /* As with a clear: DRBD was looked at after this generation was read, so a mark in between makes it a new
     * situation. */
    if (before->generation != work->record.generation) {
        g_snprintf(reason, reason_size, "the record moved on");
        return FALSE;
    }
    RecordSelfFacts facts = {.node = ident_node_name(),
                             .boot_id = ident_boot_id(),
                             .peer = work->manifest->peer_node,
                             .own_disk_lost = TRUE,
                             .peer_up_to_date = TRUE};
    return record_mark_self(before, &facts, after, reason, reason_size);
}

/* Rule "mark self": our own disk failed and the peer's copy serves the guest. Once the record says so the guest leaves
 * for the peer's node (leave_lost_disk.h). FALSE: it could not be written, to be tried again. */
static gboolean mark_own_lost_disk(GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    gboolean lost = FALSE;
    if (!we_own_it(work) || !record_is_in_sync(&work->record, ident_node_name())) {
        return TRUE;
    }
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(guest, (int) i), &state, NULL) || !g_str_equal(state.role, "Primary") ||
            !g_str_equal(state.connection, "Connected") || !g_str_equal(state.peer_disk, "UpToDate")) {
            return TRUE; /* the peer does not have everything: nothing better to say than what the record says */
        }
        lost |= g_str_equal(state.disk, "Failed") || g_str_equal(state.disk, "Diskless");
    }
    if (!lost) {
        return TRUE;
    }
    g_autoptr(GError) error = NULL;
    if (!record_update(work->daemon->store, guest->name, self_rule, work, NULL, NULL, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': the lost disk here could not be recorded: %s", guest->name,
                 error->message);
        return FALSE;
    }
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    daemon_event(work->daemon, "guest.disk_lost", object, "a disk failed on %s, only the copy on %s is current",
                 ident_node_name(), work->manifest->peer_node);
    return TRUE;
}

/* ---- a disk that failed here ---- */

static void notes_remove(GuestWork *work, const char *why)
{
    const char *name = work->manifest->guest.name;
    if (!lost_copy_remove(LOST_COPY_ROOT, name, &work->lost)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': the note about the failed disk here could not be removed", name);
        return;
    }
    log_line(LOG_LEVEL_NOTICE, "guest '%s': the note about the failed disk here is removed: %s", name, why);
    lost_copy_look(LOST_COPY_ROOT, name, ident_boot_id(), &work->lost);
}

/* Notes about a failed disk here: look, and do what lost_copy_decide() says. The order matters: notes first, then DRBD,
 * and the record from a majority, never from our cache. */
static void lost_copy_follow(GuestWork *work)
{
    const char *name = work->manifest->guest.name;
    const char *peer = work->manifest->peer_node;
    gboolean primary_here = FALSE;
    Record record;
    lost_copy_look(LOST_COPY_ROOT, name, ident_boot_id(), &work->lost);
    pool_care_notes(work->daemon, name, &work->lost);
    LostCopyFacts facts = {.has_peer = peer != NULL};
    if (work->lost.stands && !work->lost.held && peer) {
        facts.copies_equal = copies_are_equal(work, &primary_here);
        facts.record_known = record_read(work->daemon->store, name, &record, NULL, NULL);
        /* In doubt the truth may name either. */
        facts.named = facts.record_known && (record.unconfirmed[0] || record_is_in_sync(&record, ident_node_name()));
        facts.peer_named = facts.record_known && (record.unconfirmed[0] || record_is_in_sync(&record, peer));
    }
    LostCopyStep step = lost_copy_decide(&work->lost, &facts);
    if (step == LOST_COPY_REMOVE) {
        notes_remove(work, !peer                ? "there is no other copy"
                           : facts.copies_equal ? "the copy is up to date again"
                                                : "it is the only copy, and an operator released it");
    }
    work->set.detached = work->lost.stands && step != LOST_COPY_ATTACH;
}

/* For people: which disk, and what to do. NULL: none failed. */
static char *lost_copy_text(const GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    const char *node = ident_node_name();
    int index = work->lost.minor - guest_minor(guest, 0);
    if (!work->lost.stands) {
        return NULL;
    }
    g_autofree char *lv = index >= 0 && index < (int) work->manifest->volumes->len ? guest_lv_name(guest->name, index)
                                                                                   : g_strdup("one of its volumes");
    if (work->lost.full) {
        return g_strdup_printf("there was no room in the pool of %s for a write to %s, this copy is not used: it comes "
                               "back by itself when the pool is below 88 %%; 'holdfast node show %s'",
                               node, lv, node);
    }
    if (work->lost.held) {
        return g_strdup_printf("the disk under %s failed on %s, this copy is not used: repair the disk, then 'holdfast "
                               "guest reattach %s --node %s' or restart the node",
                               lv, node, guest->name, node);
    }
    if (work->set.detached) {
        return g_strdup_printf("the disk under %s failed on %s; this copy waits until the record names the one on %s "
                               "alone, which is so once the guest runs there; if that copy is lost for good, 'holdfast "
                               "guest reattach %s --node %s'",
                               lv, node, work->manifest->peer_node, guest->name, node);
    }
    return g_strdup_printf("the disk under %s failed on %s; this copy is being brought up to date", lv, node);
}

static void remove_replica(GuestWork *work)
{
    Daemon *daemon = work->daemon;
    const char *name = work->manifest->guest.name;
    g_autofree char *run_folder = guest_run_folder(name);
    g_autoptr(GError) error = NULL;
    if (guest_engine(&work->manifest->guest)->query(run_folder, name) != VMM_STOPPED) {
        status_publish(work, FALSE, FALSE, "waiting for the guest to stop");
        return;
    }
    if (!volume_set_remove(&work->set, &error)) {
        status_publish(work, FALSE, FALSE, error->message);
        return;
    }
    guest_taps_remove(daemon->runner, work->manifest);
    /* A namesake must not inherit them. */
    for (lost_copy_look(LOST_COPY_ROOT, name, "", &work->lost);
         work->lost.n_names > 0 && lost_copy_remove(LOST_COPY_ROOT, name, &work->lost);) {
        lost_copy_look(LOST_COPY_ROOT, name, "", &work->lost);
    }
    if (!manifest_remove(name, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", name, error->message);
    }
    status_publish(work, FALSE, TRUE, NULL);
}

static void record_load(GuestWork *work)
{
    g_autofree char *key = record_key(work->manifest->guest.name);
    g_autoptr(StoreEntry) entry = cache_get(work->daemon->cache, key);
    char reason[200];
    work->have_record = entry && record_decode(entry->value, &work->record, reason, sizeof(reason));
}

/* Under the guest's lock, since the OCF agent's start and a migration's target side touch the same devices. */
static gboolean replica_converge(const GuestWork *work, gboolean is_new, GError **error)
{
    LOCK_AUTO int lock = lock_take(work->manifest->guest.name, LOCK_TIMEOUT_MS, error);
    if (lock >= 0 && disk_care_verdict(work->daemon, work->manifest->guest.name) != DISK_WELL) {
        /* Every program that touches it would hang as well, with the guest's lock. */
        return holdfast_error_fail(error, HOLDFAST_ERROR_BUSY, "the disk of %s hangs without an error",
                                   ident_node_name());
    }
    return lock >= 0 && volume_set_converge(&work->set, is_new, error);
}

static gboolean grow_follow(const GuestWork *work, GError **error)
{
    g_autofree char *run_folder = guest_run_folder(work->manifest->guest.name);
    return volume_grow_follow(&work->set, guest_engine(&work->manifest->guest), run_folder, error);
}

/* TRUE: everything is as it should be. */
static gboolean converge(GuestWork *work)
{
    g_autoptr(GError) error = NULL;
    /* Sizes and networks of before the truth must not reach the guest: until the store is confirmed it starts from the
     * manifest that is here. */
    gboolean held = store_care_is_held(work->daemon);
    if (!held && !manifest_write(work->manifest, &error)) {
        status_publish(work, FALSE, FALSE, error->message);
        return FALSE;
    }
    if (!work->have_record) {
        status_publish(work, FALSE, FALSE, "the in-sync record is missing or damaged in the store");
        return FALSE;
    }
    /* In doubt it may have been initialised since, and making its volumes again would overwrite them. */
    gboolean is_new = work->record.state == RECORD_NEW && !work->record.unconfirmed[0];
    record_doubt_follow(work->daemon, work->manifest, &work->record);
    /* First of all: until it is recorded, a fail-over may choose that peer, or come back to the disk that failed. */
    gboolean recorded = mark_known_stale_peer(work) && mark_own_lost_disk(work);
    leave_lost_disk(work->daemon, work->manifest, &work->record);
    give_way(work->daemon, &work->set, work->manifest->peer_node, &work->record);
    lost_copy_follow(work);
    g_autofree char *choice_text = NULL;
    work->set.unconnected = copy_choice_is_awaited(work->manifest, &work->record, &choice_text) ||
                            await_mark(work->daemon, work->manifest, work->set.detached);
    g_autofree char *lost_text = lost_copy_text(work);
    gboolean ready = replica_converge(work, is_new, &error) && !work->lost.stands;
    gboolean grown = ready && (is_new || held || grow_follow(work, &error));
    status_publish(work, ready, FALSE,
                   lost_text                     ? lost_text
                   : choice_text                 ? choice_text
                   : error                       ? error->message
                   : work->record.unconfirmed[0] ? RECORD_DOUBT_TEXT
                                                 : NULL);
    if (ready && is_new) {
        ready = initialise(work, &error);
        status_publish(work, TRUE, FALSE, error ? error->message : NULL);
    }
    recorded = recorded && (!ready || clear_after_resync(work));
    if (error && !lost_text && !choice_text) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", work->manifest->guest.name, error->message);
    }
    return ready && recorded && grown;
}

/* What this node's part of the guest depends on, as one text: while it stays the same nothing needs to be looked at
 * with programs. /proc/drbd and cgroup files are read, no process is started. */
static char *situation(const GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    g_autofree char *run_folder = guest_run_folder(guest->name);
    g_autofree char *manifest = NULL;
    g_autoptr(json_t) document = json_struct_encode(&manifest_type, work->manifest);
    manifest = json_text_from(document);
    GString *text = g_string_new(NULL);
    LostCopy lost;
    lost_copy_look(LOST_COPY_ROOT, guest->name, ident_boot_id(), &lost);
    g_string_append_printf(text, "%s|%" G_GINT64_FORMAT ".%d.%s|%s|%d.%d.%d.%d|", manifest, work->record.generation,
                           work->record.state, work->record.owner,
                           vmm_state_name(guest_engine(guest)->query(run_folder, guest->name)), lost.stands,
                           lost.n_names, split_brain_is_noted(SPLIT_BRAIN_ROOT, guest->name),
                           disk_care_verdict(work->daemon, guest->name));
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        drbd_state_read(guest_minor(guest, (int) i), &state, NULL);
        g_string_append_printf(text, "%s %s/%s %s/%s %d %" G_GINT64_FORMAT "|", state.connection, state.role,
                               state.peer_role, state.disk, state.peer_disk, state.suspended,
                               volume_set_usable_bytes(&work->set, i));
    }
    return g_string_free(text, FALSE);
}

/* TRUE when the last full round was recent, ended well, and nothing has changed since. */
static gboolean is_settled(Daemon *daemon, const char *name, const char *text)
{
    gint64 now_us = g_get_monotonic_time();
    g_mutex_lock(&daemon->lock);
    const GuestSettled *settled = g_hash_table_lookup(daemon->settled, name);
    gboolean same = settled && g_str_equal(settled->text, text) && now_us - settled->at_us < FULL_ROUND_US;
    g_mutex_unlock(&daemon->lock);
    return same;
}

static void settled_set(Daemon *daemon, const char *name, const char *text)
{
    g_mutex_lock(&daemon->lock);
    if (text) {
        GuestSettled *settled = g_new0(GuestSettled, 1);
        *settled = (GuestSettled){.text = g_strdup(text), .at_us = g_get_monotonic_time()};
        g_hash_table_replace(daemon->settled, g_strdup(name), settled);
    } else {
        g_hash_table_remove(daemon->settled, name);
    }
    g_mutex_unlock(&daemon->lock);
}

/* A hand-over or a start works on the same gates and roles: the OCF agent and the migration verbs are not held up by
 * us, since every step here looks first and none changes role or gate of an initialised guest. */
void reconcile_guest(const char *key, gpointer user_data)
{
    Daemon *daemon = user_data;
    const char *name = key + strlen("guest/");
    GuestWork work = {.daemon = daemon};
    g_autoptr(Manifest) manifest = manifest_build(daemon, name);
    if (!manifest || !guest_on_node(&manifest->guest, daemon->config->node)) {
        return;
    }
    work.manifest = manifest;
    work.set = guest_volume_set(daemon->runner, manifest);
    record_load(&work);
    if (manifest->guest.deleting) {
        if (!store_care_is_held(daemon)) {
            remove_replica(&work);
        }
        return;
    }
    g_autofree char *before = situation(&work);
    gboolean progress_due = resync_look(daemon, &manifest->guest);
    if (is_settled(daemon, name, before)) {
        if (progress_due) {
            status_publish(&work, TRUE, FALSE, NULL);
        }
        return;
    }
    gboolean well = converge(&work);
    g_autofree char *after = situation(&work);
    settled_set(daemon, name, well && work.record.state != RECORD_NEW && !work.record.unconfirmed[0] ? after : NULL);
}
