/* SPDX-License-Identifier: Apache-2.0
 * After the record says that the owner's own disk is lost, the guest reads and writes over the network, and either
 * node's death stops it: it belongs on the node of its copy. An ordinary migration takes it there: its memory is copied
 * before Pacemaker is asked, for as long as that takes. Pacemaker alone would have to copy within an operation's
 * timeout, and restart the guest cold when it is too slow. What cannot move now runs on where it is. */
#include "node-agent/leave_lost_disk.h"

#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/operation.h"
#include "node-agent/plan_snapshot.h"

/* After a failed move: the reason will still be there in the next seconds. */
#define RETRY_AFTER_S 60
#define LOOK_EVERY_US (20 * G_USEC_PER_SEC)

gboolean leave_was_tried(const Operation *operation, const char *target, GDateTime *now)
{
    if (!g_str_equal(operation->kind, "guest.migrate") || !g_str_equal(operation->target, target) ||
        !operation->ended_at) {
        return FALSE;
    }
    g_autoptr(GDateTime) ended = g_date_time_new_from_iso8601(operation->ended_at, NULL);
    return ended && g_date_time_difference(now, ended) < RETRY_AFTER_S * G_TIME_SPAN_SECOND;
}

static gboolean tried_lately(Daemon *daemon, const char *target)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    for (guint i = 0; i < operations->len; i++) {
        if (leave_was_tried(operations->pdata[i], target, now)) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean runs_on_the_peers_copy(const Manifest *manifest, const Record *record)
{
    const char *self = ident_node_name(), *peer = manifest->peer_node;
    return peer && record->state == RECORD_RUNNING && !record->handover_to[0] && !record->unconfirmed[0] &&
           g_str_equal(record->owner, self) && g_str_equal(record->owner_boot_id, ident_boot_id()) &&
           !record_is_in_sync(record, self) && record_is_in_sync(record, peer);
}

/* What an operator's migration is asked too: room there, a node that takes guests, nobody to keep apart from. */
static gboolean may_move(Daemon *daemon, const Guest *guest, const char *peer, GError **error)
{
    g_autoptr(PacemakerStatus) pacemaker = daemon_pacemaker(daemon, error);
    g_auto(PlanSnapshot) snapshot = {0};
    if (!pacemaker) {
        return FALSE;
    }
    if (!pacemaker_status_node_usable(pacemaker, peer)) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED, "%s takes no guests now", peer);
    }
    plan_snapshot_take(daemon, pacemaker, &snapshot);
    return plan_move(&snapshot, guest, peer, error);
}

/* Not in every round, and not before the last one begun shows in the cache. */
static gboolean is_time(Daemon *daemon, const char *guest)
{
    g_mutex_lock(&daemon->lock);
    gint64 *looked_us = g_hash_table_lookup(daemon->leave_looked, guest), now_us = g_get_monotonic_time();
    gboolean time = !looked_us || now_us - *looked_us > LOOK_EVERY_US;
    if (time) {
        looked_us = g_new0(gint64, 1);
        *looked_us = now_us;
        g_hash_table_replace(daemon->leave_looked, g_strdup(guest), looked_us);
    }
    g_mutex_unlock(&daemon->lock);
    return time;
}

void leave_lost_disk(Daemon *daemon, const Manifest *manifest, const Record *record)
{
    const Guest *guest = &manifest->guest;
    if (!runs_on_the_peers_copy(manifest, record) || !daemon_node_online(daemon, manifest->peer_node)) {
        return;
    }
    g_autofree char *target = g_strconcat("guest/", guest->name, NULL);
    g_autofree char *run_folder = guest_run_folder(guest->name);
    g_autoptr(Operation) other = operation_running_on(daemon, target);
    if (other || tried_lately(daemon, target) || guest_engine(guest)->query(run_folder, guest->name) != VMM_RUNNING ||
        !is_time(daemon, guest->name)) {
        return;
    }
    g_autoptr(GError) error = NULL;
    if (!may_move(daemon, guest, manifest->peer_node, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': its disk here is lost, and it cannot move: %s", guest->name,
                 error->message);
        return;
    }
    g_autoptr(Operation) move = operation_new("guest.migrate", target, manifest->peer_node, ident_node_name());
    if (!operation_create(daemon, move, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': its move to %s, where its disk is, could not begin: %s", guest->name,
                 manifest->peer_node, error->message);
        return;
    }
    log_line(LOG_LEVEL_NOTICE, "guest '%s': its disk here is lost, it moves to %s", guest->name, manifest->peer_node);
}
