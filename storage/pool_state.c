/* SPDX-License-Identifier: Apache-2.0
 * How full the thin pool is and what follows.
 *
 * A full pool answers a write to new space with an error at once (errorwhenfull y), and not after the kernel's minute
 * of queueing: DRBD turns the error of one node into the loss of that copy, recorded, and the guest goes on with the
 * other, where the queue would stall the guest first and lose the copy all the same. So space has to come before the
 * pool is full: from the volume group's free extents, which are the reserve. Extents rather than a logical volume,
 * because giving them is then one lvextend, which either happened or did not.
 *
 * Metadata comes first. A pool that runs out of it goes read-only in the midst of a transaction and needs an offline
 * repair. */
#include "storage/pool_state.h"

#include "common/error.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DMSETUP "/sbin/dmsetup"
#define TPOOL "holdfast-pool-tpool" /* what the thin volumes stand on */
#define LOOK_TIMEOUT_MS 5000
/* lvextend suspends the pool for a moment: it is not killed for being slow on a busy machine. */
#define CHANGE_TIMEOUT_MS 180000
#define MIB (1024 * (gint64) 1024)
#define EXTENT (4 * MIB)
#define METADATA_BLOCK 4096
#define METADATA_MAX_BYTES (15 * 1024 * MIB) /* the kernel uses no more than 15.8 GiB */
#define METADATA_STEP_BYTES (16 * MIB)

#define DATA_WARNING_PERMILLE 800
#define DATA_CRITICAL_PERMILLE 900
#define METADATA_WARNING_PERMILLE 700
#define METADATA_CRITICAL_PERMILLE 850
#define HYSTERESIS_PERMILLE 20

/* ---- the kernel's word ---- */

/* "0 <sectors> thin-pool <transaction> <used>/<total metadata> <used>/<total data> <root> <mode> ...": mode is rw, ro
 * or out_of_data_space. A pool that failed says "Fail" after its name. */
gboolean pool_state_parse(const char *line, PoolState *ret, GError **error)
{
    PoolState state = {0};
    gint64 sectors;
    char mode[24];
    if (sscanf(line, "%*d %" SCNd64 " thin-pool %*d %" SCNd64 "/%" SCNd64 " %" SCNd64 "/%" SCNd64 " %*s %23s", &sectors,
               &state.metadata_used, &state.metadata_total, &state.data_used, &state.data_total, mode) == 6) {
        state.out_of_space = strcmp(mode, "out_of_data_space") == 0;
        state.broken = strcmp(mode, "ro") == 0 || strstr(line, " needs_check") != NULL;
    } else if (sscanf(line, "%*d %" SCNd64 " thin-pool %23s", &sectors, mode) == 2 &&
               (strcmp(mode, "Fail") == 0 || strcmp(mode, "Error") == 0)) {
        state.broken = TRUE;
    } else {
        return holdfast_error_fail(error, HOLDFAST_ERROR_FAILED, "dmsetup says nothing of a thin pool: '%s'", line);
    }
    state.size_bytes = sectors * 512;
    *ret = state;
    return TRUE;
}

gboolean pool_state_read(const ProcessRunner *runner, PoolState *ret, GError **error)
{
    const char *argv[] = {DMSETUP, "status", "--noflush", TPOOL, NULL};
    g_auto(ProcessResult) result = {0};
    if (!runner->run(runner, argv, NULL, LOOK_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    if (result.exit_status != 0) {
        return holdfast_error_fail(error, HOLDFAST_ERROR_NOT_FOUND, "the thin pool is not active here");
    }
    return pool_state_parse(g_strchomp(result.stdout_text), ret, error);
}

static gint64 permille(gint64 used, gint64 total)
{
    return total > 0 ? used * 1000 / total : 0;
}

gint64 pool_state_data_permille(const PoolState *state)
{
    return permille(state->data_used, state->data_total);
}

gint64 pool_state_metadata_permille(const PoolState *state)
{
    return permille(state->metadata_used, state->metadata_total);
}

/* ---- levels ---- */

static const struct {
    PoolLevel level;
    gint64 data_permille, metadata_permille;
} thresholds[] = {
    {POOL_LEVEL_CRITICAL, DATA_CRITICAL_PERMILLE, METADATA_CRITICAL_PERMILLE},
    {POOL_LEVEL_WARNING, DATA_WARNING_PERMILLE, METADATA_WARNING_PERMILLE},
};

const char *pool_level_name(PoolLevel level)
{
    static const char *const names[] = {"ok", "warning", "critical", "full", "broken"};
    return names[level];
}

static gboolean is_full(const PoolState *state)
{
    return state->out_of_space || (state->data_total > 0 && state->data_used >= state->data_total);
}

PoolLevel pool_level_next(PoolLevel before, const PoolState *state)
{
    if (state->broken) {
        return POOL_LEVEL_BROKEN;
    }
    if (is_full(state)) {
        return POOL_LEVEL_FULL;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(thresholds); i++) {
        gint64 slack = before >= thresholds[i].level ? HYSTERESIS_PERMILLE : 0;
        if (pool_state_data_permille(state) >= thresholds[i].data_permille - slack ||
            pool_state_metadata_permille(state) >= thresholds[i].metadata_permille - slack) {
            return thresholds[i].level;
        }
    }
    return POOL_LEVEL_OK;
}

#define REMEDY                                                                                                         \
    "delete guests, run fstrim in guests, or add a disk ('vgextend " POOL_VG " DEVICE'); docs/runbook/pool-full.md"

char *pool_level_text(PoolLevel level, const PoolState *state, gint64 reserve_bytes)
{
    gint64 data = pool_state_data_permille(state), metadata = pool_state_metadata_permille(state);
    g_autofree char *figures = g_strdup_printf(
        "its thin pool is %d.%d %% full, the pool's metadata %d.%d %%, and %" G_GINT64_FORMAT " MiB are in reserve",
        (int) (data / 10), (int) (data % 10), (int) (metadata / 10), (int) (metadata % 10), reserve_bytes / MIB);
    switch (level) {
    case POOL_LEVEL_OK:
        break;
    case POOL_LEVEL_WARNING:
        return g_strdup_printf("%s: at 90 %% it takes no new guests and the reserve is given; " REMEDY, figures);
    case POOL_LEVEL_CRITICAL:
        return g_strdup_printf(
            "%s: it takes no new guests, and once the pool is full, guests' writes to new space fail "
            "here; " REMEDY,
            figures);
    case POOL_LEVEL_FULL:
        return g_strdup_printf(
            "%s: guests' writes to new space fail here, so copies on this node drop out and their "
            "guests go on with the other copy; with room again they come back by themselves: " REMEDY,
            figures);
    case POOL_LEVEL_BROKEN:
        return g_strdup("its thin pool is read-only or failed, so nothing is written here: move the guests away and "
                        "repair it; docs/runbook/pool-full.md");
    }
    return NULL;
}

/* ---- what is done ---- */

static gint64 whole_extents(gint64 bytes)
{
    return bytes / EXTENT * EXTENT;
}

gboolean pool_step_is_near(const PoolState *state)
{
    return !state->broken && (is_full(state) || pool_state_data_permille(state) >= DATA_CRITICAL_PERMILLE ||
                              pool_state_metadata_permille(state) >= METADATA_WARNING_PERMILLE);
}

/* Half of what is free at most: lvm2 makes the spare, into which metadata is repaired, as large. */
static gint64 metadata_size(const PoolUsage *usage)
{
    gint64 step = MAX(METADATA_STEP_BYTES, usage->metadata_bytes / 4);
    gint64 add = whole_extents(MIN(step, usage->vg_free_bytes / 2));
    return MIN(usage->metadata_bytes + add, METADATA_MAX_BYTES);
}

/* Of the reserve of 2 % a quarter stays for metadata, and is too little to be taken for a reserve once more. What an
 * added disk brings is given too, but for a new reserve. */
static gint64 data_size(const PoolUsage *usage)
{
    gint64 free_bytes = usage->vg_free_bytes, vg = usage->vg_size_bytes;
    gint64 keep = free_bytes > vg / 25 ? vg / 50 : vg / 200;
    return free_bytes > vg / 100 ? usage->size_bytes + whole_extents(free_bytes - keep) : usage->size_bytes;
}

PoolStep pool_step_decide(const PoolState *state, const PoolUsage *usage, gint64 *ret_size_bytes)
{
    *ret_size_bytes = 0;
    if (!pool_step_is_near(state)) {
        return POOL_STEP_NONE;
    }
    if (usage->size_bytes > state->size_bytes ||
        MIN(usage->metadata_bytes, METADATA_MAX_BYTES) > state->metadata_total * METADATA_BLOCK) {
        return POOL_STEP_REFRESH;
    }
    if (pool_state_metadata_permille(state) >= METADATA_WARNING_PERMILLE) {
        *ret_size_bytes = metadata_size(usage);
        if (*ret_size_bytes > usage->metadata_bytes) {
            return POOL_STEP_METADATA;
        }
    }
    if (is_full(state) || pool_state_data_permille(state) >= DATA_CRITICAL_PERMILLE) {
        *ret_size_bytes = data_size(usage);
        if (*ret_size_bytes > usage->size_bytes) {
            return POOL_STEP_DATA;
        }
    }
    *ret_size_bytes = 0;
    return POOL_STEP_NONE;
}

gboolean pool_step_run(const ProcessRunner *runner, PoolStep step, gint64 size_bytes, GError **error)
{
    g_autofree char *size = g_strdup_printf("%" G_GINT64_FORMAT "b", size_bytes);
    switch (step) {
    case POOL_STEP_NONE:
        break;
    case POOL_STEP_REFRESH:
        return process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvchange", "--refresh", POOL_VG "/" POOL_LV,
                            NULL);
    case POOL_STEP_METADATA:
    case POOL_STEP_DATA:
        return process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvextend", "--yes",
                            step == POOL_STEP_DATA ? "--size" : "--poolmetadatasize", size, POOL_VG "/" POOL_LV, NULL);
    }
    return TRUE;
}
