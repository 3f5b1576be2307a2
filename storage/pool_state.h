/* SPDX-License-Identifier: Apache-2.0
 * The thin pool as the kernel has it, how bad that is, and what is done about it before people can. All of it pure but
 * pool_state_read() and pool_step_run(). */
#pragma once

#include "storage/pool.h"

typedef struct {
    gint64 size_bytes;                    /* of the pool's data as the kernel has it; lvm2's word may be ahead */
    gint64 data_used, data_total;         /* chunks */
    gint64 metadata_used, metadata_total; /* blocks of 4 KiB */
    gboolean out_of_space;                /* the kernel refuses to allocate: writes to new space fail */
    gboolean broken;                      /* read-only or failed, usually for want of metadata space */
} PoolState;

/* One line of `dmsetup status` of a thin pool. FAILED when it is none. */
gboolean pool_state_parse(const char *line, PoolState *ret, GError **error);
/* NOT_FOUND: the pool is not active here. Never waits for the disk (--noflush). */
gboolean pool_state_read(const ProcessRunner *runner, PoolState *ret, GError **error);
gint64 pool_state_data_permille(const PoolState *state);
gint64 pool_state_metadata_permille(const PoolState *state);

typedef enum {
    POOL_LEVEL_OK,
    POOL_LEVEL_WARNING,  /* people should act in the next days */
    POOL_LEVEL_CRITICAL, /* no new guests; the reserve is given */
    POOL_LEVEL_FULL,     /* writes to new space fail */
    POOL_LEVEL_BROKEN,   /* nothing is written at all */
} PoolLevel;

const char *pool_level_name(PoolLevel level);
/* The level after `before`: a higher one at its threshold, a lower one only 2 % below it, so that it does not flap. */
PoolLevel pool_level_next(PoolLevel before, const PoolState *state);
/* For people: the figures, what happens next and what to do. NULL at OK. `reserve_bytes`: what the volume group still
 * has free. Caller frees. */
char *pool_level_text(PoolLevel level, const PoolState *state, gint64 reserve_bytes);

typedef enum {
    POOL_STEP_NONE,
    POOL_STEP_REFRESH,  /* lvm2 has extended it, the kernel does not know: lvextend was killed half-way */
    POOL_STEP_METADATA, /* extend the metadata out of the volume group */
    POOL_STEP_DATA,     /* give the reserve */
} PoolStep;

/* Whether pool_step_decide() may say anything at all: spares the look at lvm2. */
gboolean pool_step_is_near(const PoolState *state);
/* What to do next; *ret_size_bytes is the size to extend to. The reserve is what the volume group has free: it is given
 * once because then it is gone, and again when an operator has added a disk. */
PoolStep pool_step_decide(const PoolState *state, const PoolUsage *usage, gint64 *ret_size_bytes);
gboolean pool_step_run(const ProcessRunner *runner, PoolStep step, gint64 size_bytes, GError **error);
