/* SPDX-License-Identifier: Apache-2.0
 * One guest on this node: manifest, replica, gates, first data, the clearing of the in-sync record after a resync, and
 * removal. */
#include "node-agent/reconcile.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/resync.h"
#include "storage/record.h"
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
} FillProgress;

static void on_fill_progress(gint64 done_bytes, gint64 total_bytes, gpointer user_data)
{
    FillProgress *progress = user_data;
    gint64 now_us = g_get_monotonic_time();
    if (now_us - progress->reported_us > G_USEC_PER_SEC) {
        progress->reported_us = now_us;
        g_autofree char *text = g_strdup_printf("writing the image: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " MiB",
                                                done_bytes >> 20, total_bytes >> 20);
        status_publish(progress->work, TRUE, FALSE, text);
    }
}

static gboolean initialised_rule(const Record *before, gpointer user_data, Record *after, char *reason,
                                 gsize reason_size)
{
    const GuestWork *work = user_data;
    if (before->state != RECORD_NEW) {
        g_snprintf(reason, reason_size, "the volumes were initialised already");
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
    FillProgress progress = {.work = work};
    if (!volume_set_initialise(&work->set, on_fill_progress, &progress, NULL, error)) {
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
           work->record.handover_to[0] == '\0' && g_str_equal(work->record.owner, ident_node_name()) &&
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

/* Rule "clear": the resync is complete on every volume and we are the owner: the peer may be trusted again. */
static void clear_after_resync(GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    if (!we_own_it(work) || record_is_in_sync(&work->record, work->manifest->peer_node)) {
        return;
    }
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(guest, (int) i), &state, NULL) || !drbd_state_is_up_to_date_pair(&state) ||
            !g_str_equal(state.role, "Primary")) {
            return;
        }
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    if (record_update(work->daemon->store, guest->name, clear_rule, work, NULL, NULL, &error)) {
        daemon_event(work->daemon, "guest.protected", object, "replica on %s is in sync again",
                     work->manifest->peer_node);
    } else {
        log_line(LOG_LEVEL_INFO, "guest '%s': %s stays out of sync: %s", guest->name, work->manifest->peer_node,
                 error->message);
    }
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
    gboolean known_stale = FALSE;
    if (!we_own_it(work) || !record_is_in_sync(&work->record, work->manifest->peer_node)) {
        return TRUE;
    }
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (drbd_state_read(guest_minor(guest, (int) i), &state, NULL) && g_str_equal(state.role, "Primary")) {
            known_stale |= g_strv_contains(stale, state.peer_disk);
        }
    }
    g_autoptr(GError) error = NULL;
    if (!known_stale || record_update(work->daemon->store, guest->name, mark_rule, work, NULL, NULL, &error)) {
        return TRUE;
    }
    log_line(LOG_LEVEL_WARNING, "guest '%s': %s could not be recorded as out of sync: %s", guest->name,
             work->manifest->peer_node, error->message);
    return FALSE;
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
    return lock >= 0 && volume_set_converge(&work->set, is_new, error);
}

/* TRUE: everything is as it should be. */
static gboolean converge(GuestWork *work)
{
    g_autoptr(GError) error = NULL;
    if (!manifest_write(work->manifest, &error)) {
        status_publish(work, FALSE, FALSE, error->message);
        return FALSE;
    }
    if (!work->have_record) {
        status_publish(work, FALSE, FALSE, "the in-sync record is missing or damaged in the store");
        return FALSE;
    }
    gboolean is_new = work->record.state == RECORD_NEW;
    /* First of all: until it is recorded, a fail-over may choose that peer. */
    gboolean recorded = mark_known_stale_peer(work);
    gboolean ready = replica_converge(work, is_new, &error);
    status_publish(work, ready, FALSE, error ? error->message : NULL);
    if (ready && is_new) {
        ready = initialise(work, &error);
        status_publish(work, TRUE, FALSE, error ? error->message : NULL);
    }
    if (ready) {
        clear_after_resync(work);
    }
    if (error) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", work->manifest->guest.name, error->message);
    }
    return ready && recorded;
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
    g_string_append_printf(text, "%s|%" G_GINT64_FORMAT ".%d.%s|%s|", manifest, work->record.generation,
                           work->record.state, work->record.owner,
                           vmm_state_name(guest_engine(guest)->query(run_folder, guest->name)));
    for (guint i = 0; i < work->manifest->volumes->len; i++) {
        DrbdState state = {0};
        drbd_state_read(guest_minor(guest, (int) i), &state, NULL);
        g_string_append_printf(text, "%s %s/%s %s/%s %d|", state.connection, state.role, state.peer_role, state.disk,
                               state.peer_disk, state.suspended);
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
        remove_replica(&work);
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
    settled_set(daemon, name, well && work.record.state != RECORD_NEW ? after : NULL);
}
