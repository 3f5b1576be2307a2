/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/copy_choice.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/lock.h"
#include "common/log.h"
#include "storage/pool.h"
#include "storage/record.h"
#include "storage/split_brain.h"

#define FORCE_TIMEOUT_MS 30000
#define DISCARD_TIMEOUT_MS 60000
#define LOCK_TIMEOUT_MS 5000

/* ---- a stale copy is all that is left ---- */

const char *copy_choice_override_refusal(const ReplicaView *node, const ReplicaView *other)
{
    if (!node->answers) {
        return "that node does not answer: bring it back first, its copy cannot be looked at";
    }
    if (!other->answers && !other->clean_down) {
        return "the node of the current copy does not answer and may be running it: switch it off, then `holdfast "
               "fence "
               "confirm` (this side must have quorum)";
    }
    if (other->runs || node->runs) {
        return "it is running; stop it first";
    }
    if (other->answers && other->whole) {
        return "the node of the current copy answers and has it: the guest starts there once that node takes guests "
               "('holdfast node online')";
    }
    if (other->answers && !other->broken) {
        return "the disk of the current copy is not in use, and not known to be lost: 'holdfast guest show' tells why, "
               "'holdfast guest reattach' has it used again; if it is lost, switch that node off";
    }
    if (!node->whole) {
        return "a disk of that copy is not attached, or holds a half-finished resync: it has no usable data";
    }
    return NULL;
}

typedef struct {
    const char *node;
    gint64 generation;
} Override;

static gboolean override_rule(const Record *before, gpointer user_data, Record *after, char *reason, gsize reason_size)
{
    const Override *override = user_data;
    return record_override(before, override->generation, override->node, after, reason, reason_size);
}

/* The record names `node` alone: an override that was not finished, or nothing to do. */
static gboolean is_overridden(const Record *record, const char *node)
{
    return !record->unconfirmed[0] && record_is_in_sync(record, node) && !record->in_sync[1][0];
}

/* A copy that the record names may be Outdated on its disk: its owner, frozen, had it outdated and died before it could
 * record that. */
static gboolean override_write(Daemon *daemon, const Guest *guest, const char *node, const Record *record,
                               GError **error)
{
    ReplicaView here, there;
    replica_view(daemon, guest->name, node, &here);
    replica_view(daemon, guest->name, guest_peer_node(guest, node), &there);
    const char *reason = record_is_in_sync(record, node) && here.usable ? "it is a current one already"
                                                                        : copy_choice_override_refusal(&here, &there);
    if (reason) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "guest '%s', copy on %s: %s", guest->name, node,
                                   reason);
    }
    Override override = {.node = node, .generation = record->generation};
    return record_update(daemon->store, guest->name, override_rule, &override, NULL, NULL, error);
}

gboolean copy_choice_override(Daemon *daemon, const Guest *guest, const char *node, GError **error)
{
    Record record;
    if (!guest_peer_node(guest, node)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "guest '%s' has one copy: there is nothing to choose",
                                   guest->name);
    }
    if (!record_read(daemon->store, guest->name, &record, NULL, error)) {
        return FALSE;
    }
    if (is_overridden(&record, node) && record.state == RECORD_RUNNING) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "guest '%s': it was started from the copy on %s, which is the only current one",
                                   guest->name, node);
    }
    if (!is_overridden(&record, node) && !override_write(daemon, guest, node, &record, error)) {
        return FALSE;
    }
    g_autoptr(json_t) answer = replica_ask(daemon, "replica.force", guest->name, node, FORCE_TIMEOUT_MS, error);
    if (!answer) {
        g_prefix_error(error, "the record names that copy now, but its disks are not ready; repeat the command: ");
    }
    return answer != NULL;
}

/* Disconnected first: a lost copy that comes back in this moment must not be taken for the newer one. */
json_t *copy_choice_force_here(Daemon *daemon, const VolumeSet *set, const Manifest *manifest, GError **error)
{
    const char *name = manifest->guest.name;
    DrbdResource resource = volume_set_resource(set);
    ReplicaSight sight;
    Record record;
    LOCK_AUTO int lock = lock_take(name, LOCK_TIMEOUT_MS, error);
    if (lock < 0 || !record_read(daemon->store, name, &record, NULL, error) ||
        !replica_sight_look(manifest, &sight, error)) {
        return NULL;
    }
    if (!is_overridden(&record, ident_node_name()) || record.state != RECORD_STOPPED || sight.vmm_there) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s': it runs here, or the record does not name the copy on %s alone", name,
                    ident_node_name());
        return NULL;
    }
    if (!drbd_disconnect(&resource, error) || !drbd_force_stale(&resource, error)) {
        return NULL;
    }
    log_line(LOG_LEVEL_WARNING, "guest '%s': the copy here counts as the current one, by an operator's word", name);
    daemon_kick_guest(daemon, name);
    return json_object();
}

/* ---- both were written to ---- */

const char *copy_choice_discard_refusal(const ReplicaView *node, const ReplicaView *other)
{
    if (!node->answers) {
        return "that node does not answer";
    }
    if (node->runs) {
        return "the guest runs from that copy";
    }
    if (!node->differs) {
        return "nothing is known to be in that copy alone: what is out of date resyncs by itself";
    }
    if (node->connected) {
        return "it is connected to the other copy and resyncs already";
    }
    return other->answers && other->usable
               ? NULL
               : "the other copy cannot be had now, and this one is all there is: bring the "
                 "other one's node back first";
}

json_t *copy_choice_discard(Daemon *daemon, const Guest *guest, const char *node, GError **error)
{
    Record record;
    ReplicaView here, there;
    if (!record_read(daemon->store, guest->name, &record, NULL, error)) {
        return NULL;
    }
    if (record.unconfirmed[0] || record_is_in_sync(&record, node)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "guest '%s': the copy on %s is a current one, or the record is in doubt ('holdfast guest show %s')",
                    guest->name, node, guest->name);
        return NULL;
    }
    replica_view(daemon, guest->name, node, &here);
    replica_view(daemon, guest->name, guest_peer_node(guest, node), &there);
    const char *reason = copy_choice_discard_refusal(&here, &there);
    if (reason) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED, "guest '%s', copy on %s: %s", guest->name, node,
                    reason);
        return NULL;
    }
    return replica_ask(daemon, "replica.discard", guest->name, node, DISCARD_TIMEOUT_MS, error);
}

/* Snapshots of one LV per volume. The pool must have room for all of the copy once more: it is overwritten. */
static json_t *keep_snapshots(const VolumeSet *set, const Manifest *manifest, GError **error)
{
    g_autoptr(json_t) kept = json_array();
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    for (guint i = 0; i < manifest->volumes->len; i++) {
        g_autofree char *lv = guest_lv_name(manifest->guest.name, (int) i);
        g_strv_builder_add(builder, lv);
    }
    g_auto(GStrv) lvs = g_strv_builder_end(builder);
    if (!pool_room_to_overwrite(set->runner, (const char *const *) lvs, error)) {
        return NULL;
    }
    for (guint i = 0; lvs[i]; i++) {
        g_autofree char *snapshot = g_strdup_printf("kept-%s-%u-%s", manifest->guest.name, i, time);
        if (!pool_lv_snapshot(set->runner, lvs[i], snapshot, error)) {
            return NULL;
        }
        json_array_append_new(kept, json_string(snapshot));
    }
    return g_steal_pointer(&kept);
}

/* The record, from a majority, must not name this copy; nobody may use it. */
static gboolean is_given_up(Daemon *daemon, const Manifest *manifest, GError **error)
{
    ReplicaSight sight;
    Record record;
    if (!record_read(daemon->store, manifest->guest.name, &record, NULL, error) ||
        !replica_sight_look(manifest, &sight, error)) {
        return FALSE;
    }
    if (record.unconfirmed[0] || record_is_in_sync(&record, ident_node_name()) || sight.vmm_there || sight.primary ||
        sight.connected) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                   "guest '%s': the copy on %s is in use, connected or a current one",
                                   manifest->guest.name, ident_node_name());
    }
    return TRUE;
}

/* The snapshots take seconds, so the record is looked at once more after them. */
json_t *copy_choice_discard_here(Daemon *daemon, const VolumeSet *set, const Manifest *manifest, GError **error)
{
    const char *name = manifest->guest.name;
    DrbdResource resource = volume_set_resource(set);
    LOCK_AUTO int lock = lock_take(name, LOCK_TIMEOUT_MS, error);
    if (lock < 0 || !is_given_up(daemon, manifest, error) || !drbd_disconnect(&resource, error)) {
        return NULL;
    }
    g_autoptr(json_t) kept = keep_snapshots(set, manifest, error);
    if (!kept || !is_given_up(daemon, manifest, error) || !drbd_invalidate(&resource, error)) {
        return NULL;
    }
    split_brain_forget(SPLIT_BRAIN_ROOT, name);
    daemon_kick_guest(daemon, name);
    return json_pack("{s:O}", "kept", kept);
}

gboolean copy_choice_is_awaited(const Manifest *manifest, const Record *record, char **ret_text)
{
    const char *name = manifest->guest.name, *node = ident_node_name();
    ReplicaSight sight;
    if (!split_brain_is_noted(SPLIT_BRAIN_ROOT, name) || !replica_sight_look(manifest, &sight, NULL)) {
        return FALSE;
    }
    if (sight.connected || record->state == RECORD_NEW) { /* or it is a namesake's */
        split_brain_forget(SPLIT_BRAIN_ROOT, name);
        return FALSE;
    }
    if (record_is_in_sync(record, node)) {
        return FALSE; /* it goes on offering its connection */
    }
    *ret_text = g_strdup_printf(
        "the copies went different ways: the record names the one on %s; this one on %s has up to %" G_GINT64_FORMAT
        " MiB that the other has not. 'holdfast guest discard-copy %s %s --confirm %s' keeps it as a snapshot and "
        "brings "
        "it up to date from the other",
        manifest->peer_node, node, (sight.out_of_sync_kib + 1023) / 1024, name, node, name);
    return TRUE;
}
