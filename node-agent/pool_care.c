/* SPDX-License-Identifier: Apache-2.0
 * The thin pool of this node. The kernel is asked all the time, which costs one short process; lvm2 only when there
 * may be something to do. Nothing is remembered that matters: what the reserve is worth and whether an extension was
 * left half-done is seen anew at each look (storage/pool_state.h). */
#include "node-agent/pool_care.h"

#include "common/error.h"
#include "common/ident.h"
#include "common/log.h"
#include "node-agent/disk_care.h"
#include "storage/pool_state.h"

#define MIB (1024 * (gint64) 1024)
/* After a step, or when there was none to take. */
#define STEP_EVERY_US (30 * G_USEC_PER_SEC)
#define PROBE_EVERY_US (30 * G_USEC_PER_SEC)
/* While there is plenty of room; otherwise in every round. */
#define LOOK_EVERY_US (9 * G_USEC_PER_SEC)

struct PoolCare {
    gint64 looked_us, stepped_us, probe_us; /* "pool" task only */
    gboolean probe_ready;                   /* "pool" task only */
    GMutex lock;
    gboolean known;  /* lock; the kernel was asked and answered */
    PoolLevel level; /* lock */
    PoolState state; /* lock */
    PoolUsage usage; /* lock; lvm2's word, seconds old */
    gint64 room_s;   /* lock; wall clock, when the pool last had room */
};

void pool_care_begin(Daemon *daemon)
{
    PoolCare *care = g_new0(PoolCare, 1);
    g_mutex_init(&care->lock);
    care->room_s = g_get_real_time() / G_USEC_PER_SEC;
    daemon->pool = care;
}

void pool_care_end(Daemon *daemon)
{
    PoolCare *care = g_steal_pointer(&daemon->pool);
    g_mutex_clear(&care->lock);
    g_free(care);
}

static gboolean usage_look(Daemon *daemon, PoolUsage *ret, GError **error)
{
    if (!pool_usage(daemon->runner, ret, error)) {
        return FALSE;
    }
    g_mutex_lock(&daemon->pool->lock);
    daemon->pool->usage = *ret;
    g_mutex_unlock(&daemon->pool->lock);
    return TRUE;
}

static void event(Daemon *daemon, const char *kind, const char *text)
{
    g_autofree char *object = g_strconcat("node/", daemon->config->node, NULL);
    daemon_event(daemon, kind, object, "%s", text);
}

static void level_tell(Daemon *daemon, PoolLevel before, PoolLevel level, const PoolState *state, gint64 reserve_bytes)
{
    g_autofree char *kind = g_strconcat("node.pool_", pool_level_name(level), NULL);
    g_autofree char *text = pool_level_text(level, state, reserve_bytes);
    event(daemon, kind, text ? text : "its thin pool has room again");
    daemon_status_due(daemon);
    /* What the level means for its guests they find out themselves, now. */
    g_autoptr(GPtrArray) guests = cache_objects(daemon->cache, &guest_type, "guest/");
    for (guint i = 0; i < guests->len && (level >= POOL_LEVEL_FULL || before >= POOL_LEVEL_CRITICAL); i++) {
        daemon_kick_guest(daemon, ((const Guest *) guests->pdata[i])->name);
    }
}

/* The reserve, a metadata extension, or the end of one that was cut off. */
static void step(Daemon *daemon, const PoolState *state)
{
    g_autoptr(GError) error = NULL;
    PoolUsage usage;
    gint64 size_bytes = 0;
    PoolStep next = POOL_STEP_NONE;
    if (usage_look(daemon, &usage, &error)) {
        next = pool_step_decide(state, &usage, &size_bytes);
    }
    if (error || !pool_step_run(daemon->runner, next, size_bytes, &error)) {
        log_line(LOG_LEVEL_ERROR, "the thin pool needs room and could not be extended: %s", error->message);
        return;
    }
    if (next == POOL_STEP_NONE || !usage_look(daemon, &usage, NULL)) {
        return;
    }
    g_autofree char *text = g_strdup_printf(
        "%s: now %" G_GINT64_FORMAT " MiB, metadata %" G_GINT64_FORMAT " MiB; %" G_GINT64_FORMAT
        " MiB are left in reserve",
        next == POOL_STEP_DATA       ? "the reserve was given to its thin pool, which is nearly full or full"
        : next == POOL_STEP_METADATA ? "the metadata of its thin pool was extended out of the reserve"
                                     : "an extension of its thin pool that had been cut off is in effect",
        usage.size_bytes / MIB, usage.metadata_bytes / MIB, usage.vg_free_bytes / MIB);
    event(daemon, "node.pool_extended", text);
    daemon_status_due(daemon);
}

/* The volume of the disk probe. Not made in a pool that is nearly full; that is tried again. */
static void probe_ensure(Daemon *daemon, gint64 now_us)
{
    PoolCare *care = daemon->pool;
    g_autoptr(GError) error = NULL;
    if (care->probe_ready || (care->probe_us && now_us - care->probe_us < PROBE_EVERY_US)) {
        return;
    }
    care->probe_us = now_us;
    if (!pool_lv_ensure(daemon->runner, POOL_PROBE_LV, POOL_PROBE_BYTES, NULL, &error)) {
        log_line(LOG_LEVEL_WARNING, "the pool is not probed for hangs yet: %s", error->message);
        return;
    }
    care->probe_ready = TRUE;
    disk_care_probe_ready(daemon);
}

void pool_care_look(const char *key G_GNUC_UNUSED, gpointer user_data)
{
    pool_care_look_at(user_data, g_get_monotonic_time());
}

void pool_care_look_at(Daemon *daemon, gint64 now_us)
{
    PoolCare *care = daemon->pool;
    PoolState state;
    if (!care || disk_care_hangs(daemon)) {
        return;
    }
    probe_ensure(daemon, now_us);
    if (care->known && care->level == POOL_LEVEL_OK && now_us - care->looked_us < LOOK_EVERY_US) {
        return; /* only this task writes them */
    }
    if (!pool_state_read(daemon->runner, &state, NULL)) {
        return;
    }
    care->looked_us = now_us;
    g_mutex_lock(&care->lock);
    PoolLevel before = care->level;
    gboolean known = care->known;
    care->level = pool_level_next(before, &state);
    care->state = state;
    care->known = TRUE;
    if (care->level < POOL_LEVEL_FULL) {
        care->room_s = g_get_real_time() / G_USEC_PER_SEC;
    }
    PoolLevel level = care->level;
    gint64 reserve_bytes = care->usage.vg_free_bytes;
    g_mutex_unlock(&care->lock);
    if (level != before) {
        level_tell(daemon, before, level, &state, reserve_bytes);
    } else if (!known) {
        daemon_status_due(daemon);
    }
    if (pool_step_is_near(&state) && (level != before || now_us - care->stepped_us > STEP_EVERY_US)) {
        care->stepped_us = now_us;
        step(daemon, &state);
    }
}

gboolean pool_care_fill_status(Daemon *daemon, NodeStatus *status, GError **error)
{
    PoolCare *care = daemon->pool;
    PoolUsage usage = {0};
    gboolean hangs = disk_care_hangs(daemon);
    if (!care || (!hangs && !usage_look(daemon, &usage, error))) {
        return !care;
    }
    g_mutex_lock(&care->lock);
    usage = care->usage;
    status->pool_size_mib = usage.size_bytes / MIB;
    status->pool_used_permille = usage.used_permille;
    status->pool_metadata_permille = usage.metadata_permille;
    status->pool_reserve_mib = usage.vg_free_bytes / MIB;
    status->pool_level = g_strdup(care->known ? pool_level_name(care->level) : "");
    status->pool_condition = care->known ? pool_level_text(care->level, &care->state, usage.vg_free_bytes) : NULL;
    g_mutex_unlock(&care->lock);
    return TRUE;
}

void pool_care_notes(Daemon *daemon, const char *guest, LostCopy *lost)
{
    PoolCare *care = daemon->pool;
    if (!care || !lost->held) {
        return;
    }
    g_mutex_lock(&care->lock);
    gboolean full = care->known && care->level == POOL_LEVEL_FULL;
    gboolean room = care->known && care->level < POOL_LEVEL_CRITICAL;
    gint64 room_s = care->room_s;
    g_mutex_unlock(&care->lock);
    gboolean done = FALSE;
    if (full) {
        done = lost_copy_blame_full(LOST_COPY_ROOT, guest, lost, ident_boot_id(), room_s);
    } else if (room && lost->full) {
        done = lost_copy_room_again(LOST_COPY_ROOT, guest, lost);
        log_line(LOG_LEVEL_NOTICE, "guest '%s': the pool has room again, this copy may be brought up to date", guest);
    }
    if (done) {
        lost_copy_look(LOST_COPY_ROOT, guest, ident_boot_id(), lost);
    }
}
