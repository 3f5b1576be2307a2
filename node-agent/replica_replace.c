/* SPDX-License-Identifier: Apache-2.0
 * Replacing a replica: the decision, its transaction, and how far it is. */
#include "node-agent/replica_replace.h"

#include "cluster/ocf/guest_run.h"
#include "cluster/plan.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "node-agent/operation.h"
#include "node-agent/peer_verbs.h"
#include "node-agent/plan_snapshot.h"
#include "node-agent/resync.h"
#include "storage/record.h"

#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 15000
#define LOCK_TIMEOUT_MS 10000

/* ---- the decision ---- */

/* The record has to name this node as the one that runs it, and its copy as current. */
static gboolean runs_here(const ReplaceFacts *facts, GError **error)
{
    const Record *record = facts->record;
    const char *guest = facts->guest->name;
    if (record->state == RECORD_NEW) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_BUSY,
                                   "guest '%s' is still being created: wait for it, or delete it", guest);
    }
    if (record->unconfirmed[0]) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "guest '%s': its record is in doubt after a rescue or restore of the store: end that "
            "first ('holdfast guest confirm')",
            guest);
    }
    if (!record_is_in_sync(record, facts->node)) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "the only current copy of guest '%s' is on %s, the one on %s is stale: bring %s back and wait for the "
            "resync; if it is lost for good, so is what the guest wrote last: 'holdfast guest delete %s' gives it up",
            guest, record->in_sync[0], facts->node, record->in_sync[0], guest);
    }
    if (record->state == RECORD_STOPPED) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "guest '%s' is stopped: its replica is replaced while it runs, so start it with "
                                   "'holdfast guest start %s'",
                                   guest, guest);
    }
    if (strcmp(record->owner, facts->node) != 0 || strcmp(record->owner_boot_id, facts->boot_id) != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "guest '%s' does not run on %s, where its other replica is (its last owner is %s): "
                                   "wait until it was recovered there, or move it with 'holdfast guest migrate %s %s'",
                                   guest, facts->node, record->owner, guest, facts->node);
    }
    return TRUE;
}

/* What would leave the guest with fewer good copies than it has is done only when asked for by that name. */
static gboolean may_drop(const ReplaceFacts *facts, GError **error)
{
    const char *guest = facts->guest->name;
    if (!record_is_in_sync(facts->record, facts->from)) {
        return TRUE;
    }
    if (!facts->from_present) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_BUSY,
            "guest '%s': the loss of its replica on %s is just being recorded: retry in a moment", guest, facts->from);
    }
    return facts->unprotected ||
           holdfast_error_fail(
               error, HOLDFAST_ERROR_REFUSED,
               "the replica of guest '%s' on %s is in sync, and DRBD 8.4 connects two replicas and not "
               "three: it has to be given up before the one on %s is complete, and until then the guest "
               "depends on %s alone. --unprotected does that",
               guest, facts->from, facts->to, facts->node);
}

gboolean replica_replace_decide(const ReplaceFacts *facts, Record *ret_after, GError **error)
{
    const Guest *guest = facts->guest;
    char reason[256] = "";
    if (guest->deleting || guest->preferred_node) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_BUSY, "guest '%s' is being %s", guest->name,
                                   guest->deleting ? "deleted" : "moved: wait for that");
    }
    if (!guest_on_node(guest, facts->from) || !guest_on_node(guest, facts->node) || guest_on_node(guest, facts->to) ||
        strcmp(facts->from, facts->node) == 0) {
        g_autofree char *places = g_strjoinv(" and ", guest->nodes);
        return holdfast_error_fail(error, HOLDFAST_ERROR_CONFLICT,
                                   "guest '%s' has its replicas on %s now: look again, and ask anew", guest->name,
                                   places);
    }
    if (!facts->quorate || !facts->to_present) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_UNAVAILABLE, "%s is not in a quorate cluster%s",
                                   facts->quorate ? facts->to : facts->node, facts->quorate ? " with this node" : "");
    }
    if (!runs_here(facts, error) || !may_drop(facts, error)) {
        return FALSE;
    }
    if (!facts->disks_whole) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "a disk of guest '%s' on %s is not Primary and UpToDate, or is frozen: there is no "
                                   "whole copy here to build another one from",
                                   guest->name, facts->node);
    }
    /* A new generation also when the old replica is out already: a clear decided before must fail its compare. */
    return record_mark(facts->record, facts->node, facts->boot_id, facts->from, ret_after, reason, sizeof(reason)) ||
           holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "guest '%s': %s", guest->name, reason);
}

/* ---- the transaction, on the node that runs the guest ---- */

static gboolean disks_are_whole(const Manifest *manifest)
{
    for (guint i = 0; i < manifest->volumes->len; i++) {
        DrbdState state = {0};
        if (!drbd_state_read(guest_minor(&manifest->guest, (int) i), &state, NULL) || !state.present ||
            state.suspended || !g_str_equal(state.role, "Primary") || !g_str_equal(state.disk, "UpToDate")) {
            return FALSE;
        }
    }
    return TRUE;
}

typedef struct {
    Guest *guest;
    gint64 guest_revision, node_revision, record_revision;
    Record record, after;
} Replacement;

static void replacement_clear(Replacement *replacement)
{
    g_clear_pointer(&replacement->guest, guest_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Replacement, replacement_clear)

/* From a majority: the cache may be behind. */
static gboolean replacement_read(Store *store, const char *guest, const char *to, Replacement *ret, GError **error)
{
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", guest, NULL);
    g_autofree char *node_key = g_strconcat(STORE_ROOT "node/", to, NULL);
    g_autoptr(StoreEntry) guest_entry = store_get(store, guest_key, NULL, error);
    g_autoptr(StoreEntry) node_entry = guest_entry ? store_get(store, node_key, NULL, error) : NULL;
    if (!node_entry || !record_read(store, guest, &ret->record, &ret->record_revision, error)) {
        return FALSE;
    }
    ret->guest = object_from_text(&guest_type, guest_entry->value, guest_entry->key, error);
    ret->guest_revision = guest_entry->mod_revision;
    ret->node_revision = node_entry->mod_revision;
    return ret->guest != NULL;
}

/* All or nothing, and only while guest, record and the new node are what was decided on. */
static gboolean replacement_store(Store *store, const Replacement *replacement, const char *to,
                                  const Operation *operation, GError **error)
{
    g_autoptr(StoreTxn) txn = store_txn_new();
    g_autofree char *guest_key = g_strconcat(STORE_ROOT "guest/", replacement->guest->name, NULL);
    g_autofree char *node_key = g_strconcat(STORE_ROOT "node/", to, NULL);
    g_autofree char *record_at = record_key(replacement->guest->name);
    g_autofree char *guest_text = object_to_text(&guest_type, replacement->guest);
    char *record_text = record_encode(&replacement->after);
    store_txn_if_revision(txn, guest_key, replacement->guest_revision);
    store_txn_if_revision(txn, node_key, replacement->node_revision);
    store_txn_if_revision(txn, record_at, replacement->record_revision);
    store_txn_put(txn, guest_key, guest_text, 0);
    store_txn_put(txn, record_at, record_text, 0);
    free(record_text);
    operation_add_to(txn, operation);
    return store_txn_commit(store, txn, NULL, error);
}

json_t *replica_replace_here(Daemon *daemon, const Manifest *manifest, const json_t *arguments, GError **error)
{
    const char *from = json_string_value(json_object_get(arguments, "from"));
    const char *to = json_string_value(json_object_get(arguments, "to"));
    const char *reasons = json_string_value(json_object_get(arguments, "reasons"));
    const char *name = manifest->guest.name;
    g_auto(Replacement) replacement = {0};
    if (!from || !to) {
        holdfast_error_fail(error, HOLDFAST_ERROR_INVALID, "from, to: must be the names of nodes");
        return NULL;
    }
    LOCK_AUTO int lock = lock_take(name, LOCK_TIMEOUT_MS, error);
    if (lock < 0 || !replacement_read(daemon->store, name, to, &replacement, error)) {
        return NULL;
    }
    ReplaceFacts facts = {.guest = replacement.guest,
                          .record = &replacement.record,
                          .node = ident_node_name(),
                          .boot_id = ident_boot_id(),
                          .from = from,
                          .to = to,
                          .quorate = daemon_view(daemon).quorate,
                          .from_present = daemon_node_online(daemon, from),
                          .to_present = daemon_node_online(daemon, to),
                          .disks_whole = disks_are_whole(manifest),
                          .unprotected = json_is_true(json_object_get(arguments, "unprotected"))};
    g_autofree char *target = g_strconcat("guest/", name, NULL);
    g_autoptr(Operation) operation = operation_new("guest.replace_replica", target, to, NULL);
    g_free(operation->stage);
    operation->stage = g_strdup_printf("placed: %s", reasons ? reasons : to);
    if (!replica_replace_decide(&facts, &replacement.after, error)) {
        return NULL;
    }
    plan_replace_apply(replacement.guest, facts.node, to);
    if (!replacement_store(daemon->store, &replacement, to, operation, error)) {
        return NULL;
    }
    daemon_event(daemon, "guest.replica_given_up", target, "the replica on %s was given up, a new one is built on %s",
                 from, to);
    return operation_view(operation);
}

/* ---- asking for it ---- */

json_t *replica_replace_begin(Daemon *daemon, const Guest *guest, const char *from, const char *to,
                              gboolean unprotected, GError **error)
{
    const char *keeper = guest_peer_node(guest, from);
    g_auto(PlanSnapshot) snapshot = {0};
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, NULL);
    g_autofree char *chosen = NULL, *reasons = NULL;
    plan_snapshot_take(daemon, pacemaker, &snapshot);
    if (!plan_replace(&snapshot, guest, from, to, &chosen, &reasons, error)) {
        return NULL;
    }
    if (!daemon_node_online(daemon, keeper)) {
        holdfast_error_fail(error, HOLDFAST_ERROR_UNAVAILABLE,
                            "guest '%s' has its other replica on %s, which is not in the cluster: bring it back first, "
                            "there is nothing else to build a new one from",
                            guest->name, keeper);
        return NULL;
    }
    g_autoptr(json_t) arguments = json_pack("{s:s,s:s,s:s,s:b,s:s}", "guest", guest->name, "from", from, "to", chosen,
                                            "unprotected", unprotected, "reasons", reasons);
    return g_str_equal(keeper, daemon->config->node)
               ? peer_verb_run(daemon, "replica.replace", arguments, error)
               : daemon_peer_call(daemon, keeper, "replica.replace", arguments, CALL_TIMEOUT_MS, error);
}

/* ---- how far it is ---- */

static const VolumeStatus *volume_of(const GuestStatus *status, gint64 index)
{
    for (guint i = 0; status && i < status->volumes->len; i++) {
        const VolumeStatus *volume = status->volumes->pdata[i];
        if (volume->index == index) {
            return volume;
        }
    }
    return NULL;
}

/* Bytes of one volume that the new replica has, as the node it is copied from sees it. */
static gint64 volume_done(const VolumeStatus *volume, gint64 size)
{
    if (!volume || g_strcmp0(volume->role, "Primary") != 0) {
        return 0;
    }
    if (volume->resync_permille < 1000) {
        return size / 1000 * volume->resync_permille;
    }
    return g_strcmp0(volume->connection, "Connected") == 0 && g_strcmp0(volume->peer_disk, "UpToDate") == 0 ? size : 0;
}

static char *stage_of(const Guest *guest, const char *to, const GuestStatus *keeper, const GuestStatus *joining,
                      const ReplaceProgress *progress)
{
    const char *source = guest_peer_node(guest, to);
    if (!keeper) {
        return g_strdup_printf("waiting for %s, which has the only current copy and does not report", source);
    }
    if (!joining || !joining->ready) {
        gboolean says = joining && joining->condition && *joining->condition;
        return g_strdup_printf("%s makes its volumes%s%s", to, says ? ": " : "", says ? joining->condition : "");
    }
    for (guint i = 0; i < keeper->volumes->len; i++) {
        g_autofree char *resync = resync_text(keeper->volumes->pdata[i]);
        if (resync) {
            return g_strdup_printf("copying volume %u to %s: %s", i, to, resync);
        }
    }
    return progress->done < progress->total ? g_strdup_printf("%s connects to %s", source, to)
                                            : g_strdup_printf("%s is complete and is being recorded", to);
}

ReplaceProgress replica_replace_progress(const Guest *guest, const Record *record, const char *to,
                                         const GuestStatus *keeper, const GuestStatus *joining)
{
    ReplaceProgress progress = {.superseded = !guest_on_node(guest, to)};
    if (progress.superseded) {
        return progress;
    }
    progress.complete = !guest->joining && record_is_in_sync(record, to);
    for (guint i = 0; i < guest->spec.volumes->len; i++) {
        gint64 size = ((const GuestVolumeSpec *) guest->spec.volumes->pdata[i])->size_mib * 1024 * 1024;
        progress.total += size;
        progress.done += progress.complete ? size : joining ? volume_done(volume_of(keeper, i), size) : 0;
    }
    progress.stage = progress.complete ? NULL : stage_of(guest, to, keeper, joining, &progress);
    return progress;
}
