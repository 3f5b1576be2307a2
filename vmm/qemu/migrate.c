/* SPDX-License-Identifier: Apache-2.0
 * Live migration with stock QEMU 7.2, both sides.
 *
 * The trouble: QEMU stops the guest by itself as soon as what is left fits into the downtime limit, and a quiet guest
 * fits at the end of the first pass. Ours may stop only when Pacemaker and the store are ready (docs/ARCHITECTURE.md),
 * and QEMU 7.2 has no such knob. Neither a starved stream (max-bandwidth) nor a tiny downtime-limit helps with a guest
 * that dirties nothing. What does is the latch: QEMU goes on iterating while `pending >= bandwidth * downtime-limit`,
 * pending includes dirty bitmaps, and bitmaps are sent only at the very end. So both sides get a null device and the
 * source a bitmap on it that counts LATCH_PENDING_BYTES for ever:
 *
 * - begin: bandwidth at most BANDWIDTH_FULL, limit 1 ms: threshold <= 2.1 MB < 4 MiB of latch, round after round and
 *   never a stop. With nothing left to send QEMU spins in this (a core, and the guest's lock): call hold when little
 *   remains.
 * - hold: the rate limit is used up by each round's 8-byte end mark: no page is sent, ten wake-ups a second, for as
 *   long as it takes.
 * - switchover: full speed until the backlog is gone, then a limit that makes the threshold the latch plus what 300 ms
 *   of the measured bandwidth carry: QEMU's own rule, when we want it.
 *
 * Bitmap and null device are taken away by qemu_migration_tidy(). */
#include "vmm/qemu/qemu.h"

#include "common/error.h"

#include <string.h>

#define LATCH_NODE "holdfast-latch"
#define LATCH_BITMAP "latch"
#define LATCH_GRANULARITY 512
#define LATCH_PENDING_BYTES (4 * 1024 * 1024) /* pending counts one byte for each granule */
#define LATCH_DEVICE_BYTES ((json_int_t) LATCH_PENDING_BYTES * LATCH_GRANULARITY)

#define BANDWIDTH_FULL ((json_int_t) 2 * 1024 * 1024 * 1024) /* must stay below LATCH_PENDING_BYTES per millisecond */
#define BANDWIDTH_HELD ((json_int_t) 10) /* the smallest that is not "no limit": 1 byte per 100 ms */
#define LIMIT_NEVER_MS 1
#define LIMIT_MAX_MS 2000000 /* QEMU's */
#define DOWNTIME_MS 300

#define COMMAND_TIMEOUT_MS 5000
#define CONNECT_TIMEOUT_MS 10000
#define CANCEL_TIMEOUT_MS 5000
#define POLL_US (20 * 1000)
#define SETTLE_MS 250 /* QEMU measures bandwidth over windows of 100 ms */

static json_int_t int_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static gboolean params_set(Qmp *qmp, json_int_t bandwidth, json_int_t limit_ms, GError **error)
{
    return qmp_run(qmp, "migrate-set-parameters",
                   json_pack("{s:I, s:I}", "max-bandwidth", bandwidth, "downtime-limit", limit_ms), error);
}

static gboolean capability_set(Qmp *qmp, const char *const *on, GError **error)
{
    json_t *list = json_array();
    for (; *on; on++) {
        json_array_append_new(list, json_pack("{s:s, s:b}", "capability", *on, "state", 1));
    }
    return qmp_run(qmp, "migrate-set-capabilities", json_pack("{s:o}", "capabilities", list), error);
}

static void latch_remove(Qmp *qmp)
{
    qmp_run(qmp, "block-dirty-bitmap-remove", json_pack("{s:s, s:s}", "node", LATCH_NODE, "name", LATCH_BITMAP), NULL);
    qmp_run(qmp, "blockdev-del", json_pack("{s:s}", "node-name", LATCH_NODE), NULL);
}

static gboolean latch_node_add(Qmp *qmp, GError **error)
{
    return qmp_run(
        qmp, "blockdev-add",
        json_pack("{s:s, s:s, s:I}", "driver", "null-co", "node-name", LATCH_NODE, "size", LATCH_DEVICE_BYTES), error);
}

static gboolean latch_make(Qmp *qmp, GError **error)
{
    latch_remove(qmp);
    return latch_node_add(qmp, error) && qmp_run(qmp, "block-dirty-bitmap-add",
                                                 json_pack("{s:s, s:s, s:i}", "node", LATCH_NODE, "name", LATCH_BITMAP,
                                                           "granularity", LATCH_GRANULARITY),
                                                 error);
}

void qemu_migration_tidy(Qmp *qmp)
{
    latch_remove(qmp);
    qmp_run(qmp, "migrate-set-parameters",
            json_pack("{s:s, s:s, s:s}", "tls-creds", "", "tls-hostname", "", "tls-authz", ""), NULL);
    qemu_credentials_remove(qmp);
}

/* One look at the migration; *ret_bandwidth in bytes per millisecond as QEMU measured it last. */
typedef struct {
    char *status;
    char *error;
    gint64 rounds, remaining_bytes;
    double bandwidth;
} Progress;

static void progress_clear(Progress *progress)
{
    g_clear_pointer(&progress->status, g_free);
    g_clear_pointer(&progress->error, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Progress, progress_clear)

static gboolean progress_read(Qmp *qmp, Progress *ret, GError **error)
{
    g_autoptr(json_t) answer = qmp_execute(qmp, "query-migrate", NULL, error);
    if (!answer) {
        return FALSE;
    }
    const char *status = json_string_value(json_object_get(answer, "status"));
    const json_t *ram = json_object_get(answer, "ram");
    progress_clear(ret);
    ret->status = g_strdup(status ? status : "none");
    ret->error = g_strdup(json_string_value(json_object_get(answer, "error-desc")));
    ret->rounds = int_at(ram, "dirty-sync-count");
    ret->remaining_bytes = int_at(ram, "remaining");
    ret->bandwidth = json_number_value(json_object_get(ram, "mbps")) * 1e6 / 8 / 1e3;
    return TRUE;
}

static gboolean one_of(const char *word, const char *const *words)
{
    return g_strv_contains(words, word);
}

static const char *const words_ended[] = {"none", "failed", "cancelled", "completed", NULL};

static gboolean ended_badly(const Progress *progress, const char *doing, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "live migration ended while %s: %s%s%s", doing,
                progress->status, progress->error ? ": " : "", progress->error ? progress->error : "");
    return FALSE;
}

/* Poll until the status is one of `wanted`. FALSE: TIMEOUT, or *ret is an end that was not wanted (FAILED). */
static gboolean status_await(Qmp *qmp, const char *const *wanted, int timeout_ms, const char *doing, Progress *ret,
                             GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    for (;;) {
        if (!progress_read(qmp, ret, error)) {
            return FALSE;
        }
        if (one_of(ret->status, wanted)) {
            return TRUE;
        }
        if (one_of(ret->status, words_ended)) {
            return ended_badly(ret, doing, error);
        }
        if (g_get_monotonic_time() >= deadline_us) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT, "live migration is still '%s' after %d ms of %s",
                        ret->status, timeout_ms, doing);
            return FALSE;
        }
        g_usleep(POLL_US);
    }
}

static Qmp *session(const char *run_folder, int timeout_ms, GError **error)
{
    return qmp_open(run_folder, timeout_ms + COMMAND_TIMEOUT_MS, error);
}

static char *address_uri(const char *host, int port)
{
    return strchr(host, ':') ? g_strdup_printf("tcp:[%s]:%d", host, port) : g_strdup_printf("tcp:%s:%d", host, port);
}

static gboolean outgoing_start(Qmp *qmp, const char *run_folder, const char *uri, const char *tls_peer_name,
                               GError **error)
{
    static const char *const capabilities[] = {"pause-before-switchover", "dirty-bitmaps", NULL};
    static const char *const connected[] = {"active", "pre-switchover", NULL};
    g_auto(Progress) progress = {0};
    return latch_make(qmp, error) &&
           (!tls_peer_name || qemu_credentials_add(qmp, run_folder, QEMU_TLS_CLIENT, tls_peer_name, error)) &&
           capability_set(qmp, capabilities, error) && params_set(qmp, BANDWIDTH_FULL, LIMIT_NEVER_MS, error) &&
           qmp_run(qmp, "migrate", json_pack("{s:s}", "uri", uri), error) &&
           status_await(qmp, connected, CONNECT_TIMEOUT_MS, "connecting", &progress, error);
}

gboolean qemu_migrate_begin(const char *run_folder, const char *host, int port, const char *tls_peer_name,
                            GError **error)
{
    g_autoptr(Qmp) qmp = session(run_folder, CONNECT_TIMEOUT_MS, error);
    g_auto(Progress) progress = {0};
    if (!qmp || !progress_read(qmp, &progress, error)) {
        return FALSE;
    }
    if (!one_of(progress.status, words_ended)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "a live migration of this guest is already '%s': cancel it first", progress.status);
        return FALSE;
    }
    g_autofree char *uri = address_uri(host, port);
    qemu_migration_tidy(qmp);
    if (outgoing_start(qmp, run_folder, uri, tls_peer_name, error)) {
        return TRUE;
    }
    qmp_set_timeout(qmp, COMMAND_TIMEOUT_MS);
    qmp_run(qmp, "migrate_cancel", NULL, NULL);
    status_await(qmp, words_ended, CANCEL_TIMEOUT_MS, "cancelling", &progress, NULL);
    qemu_migration_tidy(qmp);
    return FALSE;
}

gboolean qemu_migrate_query(const char *run_folder, VmmMigration *ret, GError **error)
{
    g_autoptr(Qmp) qmp = session(run_folder, 0, error);
    g_autoptr(json_t) answer = qmp ? qmp_execute(qmp, "query-migrate", NULL, error) : NULL;
    if (!answer) {
        return FALSE;
    }
    const char *status = json_string_value(json_object_get(answer, "status"));
    const json_t *ram = json_object_get(answer, "ram");
    *ret = (VmmMigration){
        .status = g_strdup(status ? status : "none"),
        .transferred_bytes = int_at(ram, "transferred"),
        .remaining_bytes = int_at(ram, "remaining"),
        .total_bytes = int_at(ram, "total"),
        .downtime_ms = int_at(answer, "downtime"),
        .total_ms = int_at(answer, "total-time"),
        .error = g_strdup(json_string_value(json_object_get(answer, "error-desc"))),
    };
    return TRUE;
}

gboolean qemu_migrate_hold(const char *run_folder, GError **error)
{
    g_autoptr(Qmp) qmp = session(run_folder, 0, error);
    return qmp && params_set(qmp, BANDWIDTH_HELD, LIMIT_NEVER_MS, error);
}

/* The limit at which QEMU stops the guest once the rest fits into DOWNTIME_MS of the bandwidth it measured. Never while
 * more than that remains now: after a hold the measured figure is next to nothing, the limit it asks for enormous, and
 * QEMU multiplies that with the next figure. */
static json_int_t limit_for(const Progress *progress)
{
    if (progress->remaining_bytes > MAX(progress->bandwidth * DOWNTIME_MS, LATCH_PENDING_BYTES)) {
        return LIMIT_NEVER_MS;
    }
    double limit_ms = progress->bandwidth > 0 ? LATCH_PENDING_BYTES / progress->bandwidth + DOWNTIME_MS : LIMIT_MAX_MS;
    return (json_int_t) MIN(limit_ms, (double) LIMIT_MAX_MS);
}

/* Full speed until the backlog of the hold is sent, then let go of the latch, following the measured bandwidth. */
static gboolean switchover_drive(Qmp *qmp, int timeout_ms, GError **error)
{
    gint64 start_us = g_get_monotonic_time();
    g_auto(Progress) progress = {0};
    if (!progress_read(qmp, &progress, error) || !params_set(qmp, BANDWIDTH_FULL, LIMIT_NEVER_MS, error)) {
        return FALSE;
    }
    gint64 first_round = progress.rounds;
    for (;;) {
        if (!progress_read(qmp, &progress, error)) {
            return FALSE;
        }
        if (strcmp(progress.status, "pre-switchover") == 0) {
            return TRUE;
        }
        if (one_of(progress.status, words_ended)) {
            return ended_badly(&progress, "switching over", error);
        }
        gint64 spent_ms = (g_get_monotonic_time() - start_us) / 1000;
        if (spent_ms >= timeout_ms) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                        "the guest changes memory faster than it can be sent (%.0f MB/s): it stays here; try when it "
                        "is quieter",
                        progress.bandwidth / 1e3);
            return FALSE;
        }
        if (spent_ms >= SETTLE_MS && progress.rounds > first_round &&
            !params_set(qmp, BANDWIDTH_FULL, limit_for(&progress), error)) {
            return FALSE;
        }
        g_usleep(POLL_US);
    }
}

gboolean qemu_migrate_switchover(const char *run_folder, int timeout_ms, GError **error)
{
    static const char *const paused[] = {"pre-switchover", NULL};
    g_autoptr(Qmp) qmp = session(run_folder, timeout_ms, error);
    if (!qmp) {
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    if (switchover_drive(qmp, timeout_ms, &problem)) {
        return TRUE;
    }
    /* Hold on again; it may have stopped in the meantime, which is what was asked for. */
    g_auto(Progress) progress = {0};
    qmp_set_timeout(qmp, COMMAND_TIMEOUT_MS);
    if (params_set(qmp, BANDWIDTH_HELD, LIMIT_NEVER_MS, NULL) &&
        status_await(qmp, paused, SETTLE_MS, "switching over", &progress, NULL)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

gboolean qemu_migrate_finish(const char *run_folder, int timeout_ms, GError **error)
{
    static const char *const completed[] = {"completed", NULL};
    g_autoptr(Qmp) qmp = session(run_folder, timeout_ms, error);
    g_auto(Progress) progress = {0};
    if (!qmp || !progress_read(qmp, &progress, error)) {
        return FALSE;
    }
    if (strcmp(progress.status, "completed") == 0) {
        return TRUE;
    }
    return qmp_run(qmp, "migrate-continue", json_pack("{s:s}", "state", "pre-switchover"), error) &&
           status_await(qmp, completed, timeout_ms, "sending the last pages", &progress, error);
}

/* After "completed" the target may be running by now. Only the guest's record knows, and this function does not. */
static gboolean refuse_completed(const Progress *progress, GError **error)
{
    if (strcmp(progress->status, "completed") != 0) {
        return FALSE;
    }
    g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "everything was sent already: only when its record says that the guest still belongs to this "
                        "node may it be resumed here");
    return TRUE;
}

/* QEMU resumes a guest that it stopped itself, but the guest stops again when its disk was closed at that moment. */
static gboolean source_resume(Qmp *qmp, GError **error)
{
    g_autofree char *word = qemu_run_state(qmp, error);
    if (!word) {
        return FALSE;
    }
    return strcmp(word, "running") == 0 || qmp_run(qmp, "cont", NULL, error);
}

gboolean qemu_migrate_cancel(const char *run_folder, GError **error)
{
    g_autoptr(Qmp) qmp = session(run_folder, CANCEL_TIMEOUT_MS, error);
    g_auto(Progress) progress = {0};
    if (!qmp || !qmp_run(qmp, "migrate_cancel", NULL, error) ||
        !status_await(qmp, words_ended, CANCEL_TIMEOUT_MS, "cancelling", &progress, error) ||
        refuse_completed(&progress, error) || !source_resume(qmp, error)) {
        return FALSE;
    }
    qemu_migration_tidy(qmp);
    return TRUE;
}

/* late-block-activate: nothing touches the disk before `cont`, which comes after the commit. */
gboolean qemu_incoming_prepare(const VmmSpec *spec, GError **error)
{
    static const char *const capabilities[] = {"dirty-bitmaps", "late-block-activate", NULL};
    g_autoptr(Qmp) qmp = session(spec->run_folder, 0, error);
    if (!qmp) {
        return FALSE;
    }
    gboolean tls = spec->tls_folder != NULL && spec->tls_peer_name != NULL;
    g_autofree char *uri = address_uri(spec->migration_uri_listen, spec->migration_port);
    return latch_node_add(qmp, error) &&
           (!tls || qemu_credentials_add(qmp, spec->run_folder, QEMU_TLS_SERVER, spec->tls_peer_name, error)) &&
           capability_set(qmp, capabilities, error) &&
           qmp_run(qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), error);
}

gboolean qemu_incoming_ready(const char *run_folder, gboolean *ret, GError **error)
{
    g_autoptr(Qmp) qmp = session(run_folder, 0, error);
    g_autofree char *word = qmp ? qemu_run_state(qmp, error) : NULL;
    g_auto(Progress) progress = {0};
    if (!word || !progress_read(qmp, &progress, error)) {
        return FALSE;
    }
    if (strcmp(progress.status, "failed") == 0) {
        return ended_badly(&progress, "receiving", error);
    }
    *ret = strcmp(word, "paused") == 0 && strcmp(progress.status, "completed") == 0;
    return TRUE;
}
