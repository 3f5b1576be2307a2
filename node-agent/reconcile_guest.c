/* SPDX-License-Identifier: Apache-2.0
 * One guest on this node: manifest, replica, gates, first data, what follows from a disk that failed here, and removal.
 * What the running owner writes into the in-sync record is in reconcile_record.c. */
#include "node-agent/reconcile.h"
#include "node-agent/reconcile_guest_parts.h"

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
#include "node-agent/replica_join.h"
#include "node-agent/resync.h"
#include "node-agent/store_care.h"
#include "node-agent/volume_grow.h"
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
static Manifest *manifest_build(Daemon *daemon, const char *name, gint64 *ret_revision)
{
    g_autoptr(Manifest) manifest = object_new(&manifest_type);
    g_autofree char *key = g_strconcat("guest/", name, NULL);
    g_autofree char *volume_prefix = g_strdup_printf("volume/%s-", name);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, key, ret_revision);
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
        g_autoptr(GuestStatus) peer = reconcile_peer_status(work);
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
        facts.copies_equal = reconcile_copies_are_equal(work, &primary_here);
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
    split_brain_forget(SPLIT_BRAIN_ROOT, name);
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

/* The replica here is being built anew in another's place. What the record counts on is complete, whatever else a store
 * that was restored says. */
static gboolean joins_here(const GuestWork *work)
{
    return g_strcmp0(work->manifest->guest.joining, work->daemon->config->node) == 0 && work->have_record &&
           !record_is_in_sync(&work->record, work->daemon->config->node);
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
    gboolean joins = joins_here(work);
    return lock >= 0 && (!joins || replica_join_prepare(work->daemon, &work->set, error)) &&
           volume_set_converge(&work->set, is_new || joins, error);
}

static gboolean grow_follow(const GuestWork *work, GError **error)
{
    g_autofree char *run_folder = guest_run_folder(work->manifest->guest.name);
    return volume_grow_follow(&work->set, guest_engine(&work->manifest->guest), run_folder, error);
}

/* A replica gets another peer only when one of the two is being built anew. A document that says otherwise (of a store
 * that was restored to before a replacement) is not followed: DRBD could take the old copy for nearly equal. Nor is any
 * before such a store is confirmed and the record believed. */
static char *peer_change_refusal(const GuestWork *work, gboolean held)
{
    const Guest *guest = &work->manifest->guest;
    const char *peer = work->manifest->peer_node;
    g_autoptr(Manifest) before = manifest_read(guest->name, NULL);
    if (!before || !before->peer_node || !peer || g_str_equal(before->peer_node, peer) ||
        g_strcmp0(before->guest.uuid, guest->uuid) != 0) {
        return NULL;
    }
    if (held || (work->have_record && work->record.unconfirmed[0])) {
        return g_strdup_printf(
            "the other replica was on %s, and the rescued or restored store says %s: this replica is "
            "left as it is until store and record are confirmed",
            before->peer_node, peer);
    }
    if (g_strcmp0(guest->joining, peer) == 0 || joins_here(work)) {
        return NULL;
    }
    return g_strdup_printf(
        "the other replica was on %s, and the store says %s without a new one being built there: this "
        "replica is left as it is; 'holdfast guest replace-replica %s --from %s' builds one anew",
        before->peer_node, peer, guest->name, peer);
}

/* Whether DRBD here still has another peer than the guest's document names: then nothing that it says of its peer may
 * be recorded, and the next converge parts from it. Also when that cannot be seen. */
static gboolean has_other_peer(const GuestWork *work)
{
    DrbdResource resource = volume_set_resource(&work->set);
    g_autoptr(GError) error = NULL;
    gboolean other = TRUE;
    if (!drbd_peer_is_other(&resource, &other, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", work->manifest->guest.name, error->message);
        return TRUE;
    }
    return other;
}

/* What is written into the record, and what follows from it. FALSE: to be tried again. */
static gboolean record_follow(GuestWork *work)
{
    if (has_other_peer(work)) {
        lost_copy_look(LOST_COPY_ROOT, work->manifest->guest.name, ident_boot_id(), &work->lost);
        return FALSE;
    }
    /* First of all: until it is recorded, a fail-over may choose that peer, or come back to the disk that failed. */
    gboolean recorded = reconcile_mark_known_stale_peer(work) && reconcile_mark_own_lost_disk(work);
    leave_lost_disk(work->daemon, work->manifest, &work->record);
    give_way(work->daemon, &work->set, work->manifest->peer_node, &work->record);
    lost_copy_follow(work);
    return recorded;
}

/* TRUE: everything is as it should be. */
static gboolean converge(GuestWork *work)
{
    g_autoptr(GError) error = NULL;
    /* Sizes and networks of before the truth must not reach the guest: until the store is confirmed it starts from the
     * manifest that is here. */
    gboolean held = store_care_is_held(work->daemon);
    g_autofree char *refusal = peer_change_refusal(work, held);
    if (refusal && work->have_record) {
        record_doubt_follow(work->daemon, work->manifest, &work->record); /* that rests on what is here alone */
    }
    if (refusal || (!held && !manifest_write(work->manifest, &error))) {
        status_publish(work, FALSE, FALSE, refusal ? refusal : error->message);
        return FALSE;
    }
    if (!work->have_record) {
        status_publish(work, FALSE, FALSE, "the in-sync record is missing or damaged in the store");
        return FALSE;
    }
    /* In doubt it may have been initialised since, and making its volumes again would overwrite them. */
    gboolean is_new = work->record.state == RECORD_NEW && !work->record.unconfirmed[0];
    record_doubt_follow(work->daemon, work->manifest, &work->record);
    gboolean recorded = record_follow(work);
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
    recorded = recorded && (!ready || reconcile_clear_after_resync(work));
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
        gboolean verifies = g_str_has_prefix(state.connection, "Verify"); /* which changes nothing */
        g_string_append_printf(text, "%s %s/%s %s/%s %d %" G_GINT64_FORMAT "|",
                               verifies ? "Connected" : state.connection, state.role, state.peer_role, state.disk,
                               state.peer_disk, state.suspended, volume_set_usable_bytes(&work->set, i));
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
    g_autoptr(Manifest) manifest = manifest_build(daemon, name, &work.guest_revision);
    g_autofree char *guest_key = g_strconcat(STORE_ROOT, key, NULL);
    g_autoptr(StoreEntry) stored = manifest ? NULL : cache_get(daemon->cache, guest_key);
    if (!manifest && stored) {
        return; /* something that it needs is not there yet */
    }
    if (!manifest || !guest_on_node(&manifest->guest, daemon->config->node)) {
        replica_leave(daemon, name);
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
