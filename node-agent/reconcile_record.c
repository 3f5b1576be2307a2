/* SPDX-License-Identifier: Apache-2.0
 * What the running owner of a guest has to write into its in-sync record: marks and clears. All of it rests on what
 * DRBD says of its peer, so none of it may be called while the kernel is connected to another node than the guest's
 * document names (drbd_peer_is_other()). */
#include "node-agent/reconcile_guest_parts.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/replica_join.h"

#include <string.h>

GuestStatus *reconcile_peer_status(const GuestWork *work)
{
    g_autofree char *key = g_strdup_printf("status/%s/guest/%s", work->manifest->peer_node, work->manifest->guest.name);
    return cache_object(work->daemon->cache, &guest_status_type, key, NULL);
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

gboolean reconcile_copies_are_equal(const GuestWork *work, gboolean *ret_primary_here)
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
gboolean reconcile_clear_after_resync(GuestWork *work)
{
    const Guest *guest = &work->manifest->guest;
    const char *peer = work->manifest->peer_node;
    gboolean primary_here = FALSE;
    if (!we_own_it(work) ||
        (record_is_in_sync(&work->record, peer) && record_is_in_sync(&work->record, ident_node_name())) ||
        !reconcile_copies_are_equal(work, &primary_here) || !primary_here) {
        return TRUE;
    }
    g_autoptr(GuestStatus) status = reconcile_peer_status(work);
    if (work->lost.stands || !status || !status->ready) {
        return FALSE;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *object = g_strconcat("guest/", guest->name, NULL);
    if (!replica_record_clear(work->daemon, work->manifest, work->guest_revision, &work->record, &error)) {
        log_line(LOG_LEVEL_INFO, "guest '%s': the copies stay out of sync: %s", guest->name, error->message);
        return g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED);
    }
    /* The black box knows these words (blackbox_fact.c). */
    daemon_event(work->daemon, "guest.protected", object, "replica on %s is in sync again",
                 record_is_in_sync(&work->record, peer) ? ident_node_name() : peer);
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
gboolean reconcile_mark_known_stale_peer(GuestWork *work)
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
gboolean reconcile_mark_own_lost_disk(GuestWork *work)
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
