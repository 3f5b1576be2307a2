/* SPDX-License-Identifier: Apache-2.0
 * A replica comes, a replica goes. What takes data away asks a majority, never the cache. */
#include "node-agent/replica_join.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/store_care.h"
#include "storage/lost_copy.h"

#include <stdlib.h>
#include <string.h>

#define LOCK_TIMEOUT_MS 5000

static Guest *guest_read(Store *store, const char *name, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", name, NULL);
    g_autoptr(StoreEntry) entry = store_get(store, key, NULL, error);
    return entry ? object_from_text(&guest_type, entry->value, entry->key, error) : NULL;
}

/* Notes about failed disks are about the copy that was here. */
static void notes_drop(const char *guest)
{
    LostCopy lost;
    for (lost_copy_look(LOST_COPY_ROOT, guest, "", &lost);
         lost.n_names > 0 && lost_copy_remove(LOST_COPY_ROOT, guest, &lost);) {
        lost_copy_look(LOST_COPY_ROOT, guest, "", &lost);
    }
}

/* ---- the one that comes ---- */

gboolean replica_join_prepare(Daemon *daemon, const VolumeSet *set, GError **error)
{
    const char *name = set->guest->name;
    gboolean empty = FALSE;
    Record record;
    g_autoptr(Guest) guest = guest_read(daemon->store, name, error);
    if (!guest || !record_read(daemon->store, name, &record, NULL, error)) {
        return FALSE;
    }
    if (g_strcmp0(guest->uuid, set->guest->uuid) != 0 || g_strcmp0(guest->joining, set->node) != 0 ||
        g_strcmp0(guest->joining_id, set->guest->joining_id) != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_CONFLICT,
                                   "guest '%s': the new replica is wanted otherwise by now", name);
    }
    if (record.unconfirmed[0] || record_is_in_sync(&record, set->node)) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED, "guest '%s': the record %s: nothing is made anew on %s", name,
            record.unconfirmed[0] ? "is in doubt after a rescue or restore of the store" : "counts on the copy here",
            set->node);
    }
    if (!volume_set_clear_for_join(set, &empty, error)) {
        return FALSE;
    }
    if (empty) {
        notes_drop(name);
    }
    return TRUE;
}

static gboolean clear_store(Daemon *daemon, const Manifest *manifest, gint64 guest_revision, const Record *after,
                            gint64 record_revision, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", manifest->guest.name, NULL);
    g_autofree char *record_at = record_key(manifest->guest.name);
    char *record_text = record_encode(after);
    store_txn_if_revision(txn, guest_key, guest_revision);
    store_txn_if_revision(txn, record_at, record_revision);
    store_txn_put(txn, record_at, record_text, 0);
    free(record_text);
    if (manifest->guest.joining) {
        Guest whole = manifest->guest;
        whole.joining = whole.joining_id = NULL;
        g_autofree char *guest_text = object_to_text(&guest_type, &whole);
        store_txn_put(txn, guest_key, guest_text, 0);
    }
    return store_txn_commit(daemon->store, txn, NULL, error);
}

gboolean replica_record_clear(Daemon *daemon, const Manifest *manifest, gint64 guest_revision, const Record *looked_at,
                              GError **error)
{
    const char *name = manifest->guest.name;
    Record before, after;
    gint64 revision = 0;
    char reason[256] = "the record moved on";
    if (!record_read(daemon->store, name, &before, &revision, error)) {
        return FALSE;
    }
    /* Against the very generation that was read before looking at DRBD: a mark in between makes this a new situation.
     */
    if (before.generation != looked_at->generation ||
        !record_clear(&before, ident_node_name(), ident_boot_id(), manifest->peer_node, &after, reason,
                      sizeof(reason))) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "guest '%s': %s", name, reason);
    }
    return clear_store(daemon, manifest, guest_revision, &after, revision, error);
}

/* ---- the one that goes ---- */

gboolean replica_is_unwanted(const Guest *guest, const Record *record, const char *uuid, const char *node)
{
    if (g_strcmp0(guest->uuid, uuid) != 0 || guest_on_node(guest, node) || record->unconfirmed[0] ||
        record_is_in_sync(record, node)) {
        return FALSE;
    }
    if (guest->deleting) {
        return TRUE;
    }
    /* Not before the others are complete: until then this is the second-best copy there is. */
    gboolean complete = !guest->joining && record->state != RECORD_NEW;
    for (char **other = guest->nodes; other && *other; other++) {
        complete = complete && record_is_in_sync(record, *other);
    }
    return complete;
}

static gboolean is_unwanted(Daemon *daemon, const Manifest *manifest)
{
    Record record;
    const char *name = manifest->guest.name;
    g_autoptr(Guest) guest = guest_read(daemon->store, name, NULL);
    return guest && record_read(daemon->store, name, &record, NULL, NULL) &&
           replica_is_unwanted(guest, &record, manifest->guest.uuid, ident_node_name());
}

/* What the cache knows spares the store a question in every round: only with its yes a majority is asked. */
static gboolean seems_unwanted(Daemon *daemon, const Manifest *manifest)
{
    Record record;
    char reason[200];
    g_autofree char *guest_key = g_strconcat("guest/", manifest->guest.name, NULL);
    g_autofree char *record_at = record_key(manifest->guest.name);
    g_autoptr(Guest) guest = cache_object(daemon->cache, &guest_type, guest_key, NULL);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, record_at);
    return guest && entry && record_decode(entry->value, &record, reason, sizeof(reason)) &&
           replica_is_unwanted(guest, &record, manifest->guest.uuid, ident_node_name());
}

static void tell(Daemon *daemon, const char *guest, const char *condition)
{
    g_autoptr(GuestStatus) status = object_new(&guest_status_type);
    status->node = g_strdup(daemon->config->node);
    status->guest = g_strdup(guest);
    status->boot_id = g_strdup(ident_boot_id());
    status->vmm = g_strdup(vmm_state_name(VMM_STOPPED));
    status->condition = g_strdup(condition);
    g_autofree char *key = g_strdup_printf(STORE_ROOT "status/%s/guest/%s", daemon->config->node, guest);
    g_autofree char *text = object_to_text(&guest_status_type, status);
    daemon_publish(daemon, key, text, NULL); /* the next round tries again */
}

static gboolean clean_away(Daemon *daemon, const Manifest *manifest, const VolumeSet *set, GError **error)
{
    const char *name = manifest->guest.name;
    if (!volume_set_remove_own(set, error)) {
        return FALSE;
    }
    guest_taps_remove(daemon->runner, manifest);
    notes_drop(name);
    /* The manifest is the memory of what is to be cleaned away: it goes last. */
    if (!manifest_remove(name, error)) {
        return FALSE;
    }
    daemon_unpublish(daemon, name);
    g_autofree char *object = g_strconcat("guest/", name, NULL);
    daemon_event(daemon, "guest.replica_removed", object, "the replica on %s, which was given up, is removed",
                 daemon->config->node);
    return TRUE;
}

static gboolean is_in_cache(Daemon *daemon, const char *guest)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "guest/", guest, NULL);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    return entry != NULL;
}

/* Deleted while this node was away: whether its data is wanted nobody says, but its slot may be another guest's. */
static void set_aside(Daemon *daemon, const char *guest)
{
    g_autoptr(GError) missing = NULL;
    g_autoptr(GError) error = NULL;
    g_autoptr(Guest) stored = guest_read(daemon->store, guest, &missing);
    if (stored || !g_error_matches(missing, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        return;
    }
    if (!manifest_set_aside(guest, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", guest, error->message);
        return;
    }
    g_autofree char *object = g_strconcat("guest/", guest, NULL);
    daemon_event(daemon, "guest.volumes_left", object,
                 "%s has volumes of this guest, which does not exist any more; they are kept ('lvs holdfast' there)",
                 daemon->config->node);
}

void replica_leftovers_follow(Daemon *daemon)
{
    g_auto(GStrv) guests = manifest_list(NULL);
    for (char **guest = guests; guest && *guest; guest++) {
        if (!is_in_cache(daemon, *guest)) {
            daemon_kick_guest(daemon, *guest);
        }
    }
}

void replica_leave(Daemon *daemon, const char *guest)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Manifest) manifest = manifest_read(guest, NULL);
    if (!manifest || store_care_is_held(daemon)) {
        return;
    }
    g_autofree char *run_folder = guest_run_folder(guest);
    VolumeSet set = guest_volume_set(daemon->runner, manifest);
    gboolean known = is_in_cache(daemon, guest);
    gboolean in_use =
        guest_engine(&manifest->guest)->query(run_folder, guest) != VMM_STOPPED || volume_set_is_primary(&set);
    LOCK_AUTO int lock = in_use ? -1 : lock_take(guest, LOCK_TIMEOUT_MS, &error);
    if (lock < 0 || !volume_set_retire(&set, &error)) {
        if (known) {
            tell(daemon, guest,
                 error ? error->message
                       : "this replica was given up, yet the guest is running or Primary here: it is left alone");
        }
        return;
    }
    if (!known) {
        set_aside(daemon, guest);
        return;
    }
    if (!seems_unwanted(daemon, manifest) || !is_unwanted(daemon, manifest)) {
        tell(daemon, guest, "this replica was given up; its volumes are kept until the other two are in sync");
        return;
    }
    if (!clean_away(daemon, manifest, &set, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %s", guest, error->message);
        tell(daemon, guest, error->message);
    }
}
