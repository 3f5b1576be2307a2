/* SPDX-License-Identifier: Apache-2.0 */
#include "node-agent/verify.h"

#include "cluster/manifest.h"
#include "cluster/ocf/guest_run.h"
#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/operation.h"
#include "storage/record.h"

#include <string.h>

#define PIECE_BYTES ((gint64) 1024 * 1024 * 1024) /* between two of them it can be cancelled */
#define POLL_US (500 * 1000)
#define AGAIN_LIMIT_MS (60 * 60 * 1000)
#define EVERY_S (7 * 24 * 3600)
#define YOUNG_S (24 * 3600)
#define NIGHT_BEGIN 1
#define NIGHT_END 5

typedef struct {
    Daemon *daemon;
    Operation *operation;
    Manifest *manifest;
    VolumeSet set;
    gint64 done, total; /* bytes */
} Comparison;

static gboolean state_of(const Comparison *comparison, guint index, DrbdState *ret, GError **error)
{
    return drbd_state_read(guest_minor(&comparison->manifest->guest, (int) index), ret, error);
}

/* Both copies must be said to be the same, or there is nothing to find out. */
static gboolean must_be_equal(const Comparison *comparison, GError **error)
{
    for (guint i = 0; i < comparison->manifest->volumes->len; i++) {
        DrbdState state;
        if (!state_of(comparison, i, &state, error)) {
            return FALSE;
        }
        if (!drbd_state_is_up_to_date_pair(&state)) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_REFUSED,
                                       "volume %u is %s with disks %s/%s: copies can be compared when both are in sync",
                                       i, state.connection, state.disk, state.peer_disk);
        }
    }
    return TRUE;
}

static gboolean wait_for_piece(const Comparison *comparison, guint index, GError **error)
{
    DrbdState state;
    do {
        g_usleep(POLL_US);
        if (!state_of(comparison, index, &state, error)) {
            return FALSE;
        }
    } while (g_str_equal(state.connection, "VerifyS") || g_str_equal(state.connection, "VerifyT"));
    return drbd_state_is_up_to_date_pair(&state) ||
           holdfast_error_fail(
               error, HOLDFAST_ERROR_FAILED,
               "volume %u lost its other copy during the comparison (%s): compare again when both are in "
               "sync",
               index, state.connection);
}

static gboolean compare_volume(Comparison *comparison, guint index, GError **error)
{
    DrbdResource resource = volume_set_resource(&comparison->set);
    gint64 size = volume_set_usable_bytes(&comparison->set, index);
    /* What a holdfastd before us began goes on in the kernel. */
    if (!wait_for_piece(comparison, index, error)) {
        return FALSE;
    }
    for (gint64 start = 0; start < size; start += PIECE_BYTES) {
        gint64 end = MIN(start + PIECE_BYTES, size);
        if (operation_cancel_requested(comparison->daemon, comparison->operation)) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_CANCELLED, "cancelled; nothing was changed");
        }
        if (!drbd_verify_begin(&resource, (int) index, start, end, error) ||
            !wait_for_piece(comparison, index, error)) {
            return FALSE;
        }
        comparison->done += end - start;
        operation_progress(comparison->daemon, comparison->operation, comparison->done, comparison->total, "bytes");
    }
    return TRUE;
}

/* *ret_kib: what differs, over all volumes. */
static gboolean compare(Comparison *comparison, gint64 *ret_kib, GError **error)
{
    comparison->done = comparison->total = *ret_kib = 0;
    for (guint i = 0; i < comparison->manifest->volumes->len; i++) {
        comparison->total += volume_set_usable_bytes(&comparison->set, i);
    }
    for (guint i = 0; i < comparison->manifest->volumes->len; i++) {
        DrbdState state;
        if (!compare_volume(comparison, i, error) || !state_of(comparison, i, &state, error)) {
            return FALSE;
        }
        *ret_kib += state.out_of_sync_kib;
    }
    return TRUE;
}

static gboolean result_write(const Comparison *comparison, gint64 differing_kib, GError **error)
{
    g_autoptr(Verification) result = object_new(&verification_type);
    g_autofree char *key = g_strconcat(STORE_ROOT VERIFIED_PREFIX, comparison->manifest->guest.name, NULL);
    result->version = 1;
    result->guest = g_strdup(comparison->manifest->guest.name);
    result->at = ident_timestamp();
    result->differing_kib = differing_kib;
    g_autofree char *text = object_to_text(&verification_type, result);
    return store_put(comparison->daemon->store, key, text, -1, 0, NULL, error);
}

/* The connection is opened and closed again: DRBD then copies what it found to differ from the Primary, on this node,
 * to the other one. Until that is done the record leaves the other one out; the usual loops see to all of it. */
static gboolean repair(const Comparison *comparison, GError **error)
{
    Record record;
    DrbdResource resource = volume_set_resource(&comparison->set);
    gint64 end_us = g_get_monotonic_time() + (gint64) AGAIN_LIMIT_MS * 1000;
    operation_stage(comparison->daemon, comparison->operation, "copying what differs from %s to %s", ident_node_name(),
                    comparison->manifest->peer_node);
    if (!record_read(comparison->daemon->store, comparison->manifest->guest.name, &record, NULL, error)) {
        return FALSE;
    }
    if (!volume_set_is_primary(&comparison->set) || record.state != RECORD_RUNNING || record.handover_to[0] ||
        record.unconfirmed[0] || !record.in_sync[1][0] || !g_str_equal(record.owner, ident_node_name()) ||
        !g_str_equal(record.owner_boot_id, ident_boot_id())) {
        return holdfast_error_fail(
            error, HOLDFAST_ERROR_REFUSED,
            "the guest does not run on %s any more, or is being moved: ask again, it is done where "
            "it runs",
            ident_node_name());
    }
    if (!drbd_disconnect(&resource, error)) {
        return FALSE;
    }
    daemon_kick_guest(comparison->daemon, comparison->manifest->guest.name);
    for (;;) {
        g_autoptr(GError) not_yet = NULL;
        g_usleep(POLL_US);
        if (must_be_equal(comparison, &not_yet)) {
            return TRUE;
        }
        if (operation_cancel_requested(comparison->daemon, comparison->operation)) {
            return holdfast_error_fail(error, HOLDFAST_ERROR_CANCELLED, "cancelled; the copies resync by themselves");
        }
        if (g_get_monotonic_time() > end_us) {
            g_propagate_prefixed_error(error, g_steal_pointer(&not_yet), "the resync takes long: ");
            return FALSE;
        }
    }
}

static gboolean run(Comparison *comparison, GError **error)
{
    gint64 kib = 0;
    gboolean mend = g_strcmp0(comparison->operation->argument, VERIFY_REPAIR) == 0;
    operation_stage(comparison->daemon, comparison->operation, "comparing the copies");
    if (!must_be_equal(comparison, error) || !compare(comparison, &kib, error) ||
        !result_write(comparison, kib, error)) {
        return FALSE;
    }
    if (kib > 0 && mend) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': %" G_GINT64_FORMAT " KiB differ, the copy on %s is taken",
                 comparison->manifest->guest.name, kib, ident_node_name());
        operation_stage(comparison->daemon, comparison->operation, "repairing");
        if (!repair(comparison, error)) {
            return FALSE;
        }
        operation_stage(comparison->daemon, comparison->operation, "comparing once more");
        if (!compare(comparison, &kib, error) || !result_write(comparison, kib, error)) {
            return FALSE;
        }
    }
    return kib == 0 ||
           holdfast_error_fail(error, HOLDFAST_ERROR_FAILED,
                               "the copies differ in %" G_GINT64_FORMAT " KiB; see 'holdfast guest show %s'", kib,
                               comparison->manifest->guest.name);
}

void drive_guest_verify(Daemon *daemon, Operation *operation)
{
    g_autoptr(GError) error = NULL;
    const char *guest = strchr(operation->target, '/') + 1;
    g_autoptr(Manifest) manifest = manifest_read(guest, &error);
    if (manifest) {
        Comparison comparison = {.daemon = daemon,
                                 .operation = operation,
                                 .manifest = manifest,
                                 .set = guest_volume_set(daemon->runner, manifest)};
        run(&comparison, &error);
    }
    operation_end(daemon, operation, error);
}

/* ---- once a week ---- */

gboolean verify_is_due(const Guest *guest, const Verification *last, GDateTime *now)
{
    g_autoptr(GDateTime) since = g_date_time_new_from_iso8601(last                ? last->at
                                                              : guest->created_at ? guest->created_at
                                                                                  : "",
                                                              NULL);
    int hour = g_date_time_get_hour(now);
    if (guest->deleting || guest->spec.replicas < 2 || hour < NIGHT_BEGIN || hour >= NIGHT_END) {
        return FALSE;
    }
    return !since || g_date_time_difference(now, since) / G_TIME_SPAN_SECOND >= (last ? EVERY_S : YOUNG_S);
}

/* Ended ones are kept for a day: what failed or was cancelled this night is not begun again. */
static gboolean was_tried(const GPtrArray *operations, const char *target)
{
    for (guint i = 0; i < operations->len; i++) {
        const Operation *operation = operations->pdata[i];
        if (g_str_equal(operation->kind, "guest.verify") &&
            (operation->state == OPERATION_RUNNING || g_str_equal(operation->target, target))) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Where it runs, if both copies are said to be current. NULL otherwise; caller frees. */
static char *place_to_compare(Daemon *daemon, const Guest *guest)
{
    Record record;
    char reason[200];
    g_autofree char *key = record_key(guest->name);
    g_autoptr(StoreEntry) entry = cache_get(daemon->cache, key);
    gboolean fit = entry && record_decode(entry->value, &record, reason, sizeof(reason)) &&
                   record.state == RECORD_RUNNING && record.in_sync[1][0] && !record.unconfirmed[0] &&
                   !record.handover_to[0];
    return fit && daemon_node_online(daemon, record.owner) ? g_strdup(record.owner) : NULL;
}

/* The guest that was compared longest ago, or never; with where it runs (*ret_node, caller frees). NULL: none is due.
 */
static const Guest *next_due(Daemon *daemon, const GPtrArray *guests, GDateTime *now, char **ret_node)
{
    g_autoptr(GPtrArray) operations = cache_objects(daemon->cache, &operation_type, "op/");
    g_autofree char *oldest = NULL;
    const Guest *next = NULL;
    for (guint i = 0; i < guests->len; i++) {
        const Guest *guest = guests->pdata[i];
        g_autofree char *key = g_strconcat(VERIFIED_PREFIX, guest->name, NULL);
        g_autofree char *target = g_strconcat(VERIFY_TARGET_PREFIX, guest->name, NULL);
        g_autoptr(Verification) last = cache_object(daemon->cache, &verification_type, key, NULL);
        const char *at = last ? last->at : "";
        if (!verify_is_due(guest, last, now) || was_tried(operations, target) || (next && strcmp(at, oldest) >= 0)) {
            continue;
        }
        g_autofree char *node = place_to_compare(daemon, guest);
        if (node) {
            g_free(oldest);
            oldest = g_strdup(at);
            g_free(*ret_node);
            *ret_node = g_steal_pointer(&node);
            next = guest;
        }
    }
    return next;
}

void verify_when_due(Daemon *daemon)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *node = NULL;
    if (g_date_time_get_hour(now) < NIGHT_BEGIN || g_date_time_get_hour(now) >= NIGHT_END) {
        return;
    }
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    const Guest *guest = next_due(daemon, guests, now, &node);
    if (!guest) {
        return;
    }
    g_autoptr(GError) error = NULL;
    g_autofree char *target = g_strconcat(VERIFY_TARGET_PREFIX, guest->name, NULL);
    g_autoptr(Operation) operation = operation_new("guest.verify", target, NULL, node);
    if (!operation_create(daemon, operation, &error)) {
        log_line(LOG_LEVEL_WARNING, "guest '%s': its copies are not compared: %s", guest->name, error->message);
    }
}

char *verify_problem(const Verification *last)
{
    if (!last || last->differing_kib == 0) {
        return NULL;
    }
    return g_strdup_printf("its two copies differed in %" G_GINT64_FORMAT " KiB when they were compared at %s: a disk, "
                           "controller or memory may be returning wrong data (or the guest changed memory while it was "
                           "being written: compare once more). Find out which (SMART, kernel log, the "
                           "guest's own checks), move the guest to the node you trust, then 'holdfast guest verify %s "
                           "--repair' copies what differs from there to the other one",
                           last->differing_kib, last->at, last->guest);
}
