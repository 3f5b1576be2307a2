/* SPDX-License-Identifier: Apache-2.0
 * The thin pool of a node: VG "holdfast", thin pool "pool", one thin LV per volume replica. Zeroing is on,
 * errorwhenfull is y. */
#pragma once

#include "common/process.h"

#define POOL_VG "holdfast"
#define POOL_LV "pool"
#define POOL_PROBE_LV "hf-probe" /* of holdfast-disk-probe; a guest's end in "-<index>" */
#define POOL_PROBE_BYTES (4 * 1024 * (gint64) 1024)
/* A replica's LV is larger than the volume by this much: DRBD's internal metadata (32 KiB per GiB, plus 1 MiB, rounded
 * up to 4 MiB). */
gint64 pool_lv_size_bytes(gint64 volume_size_bytes);

typedef struct {
    gint64 size_bytes;
    gint64 used_permille, metadata_permille;
    gint64 virtual_bytes;                /* sum of the thin volumes' sizes */
    gint64 metadata_bytes;               /* size of the pool's metadata */
    gint64 vg_size_bytes, vg_free_bytes; /* free: the reserve, which nothing else may take */
} PoolUsage;

/* Make PV, VG and pool on `device`; idempotent. REFUSED when the device holds something else (a file system, another
 * VG); the text says what and how to wipe it. */
gboolean pool_create(const ProcessRunner *runner, const char *device, GError **error);
gboolean pool_usage(const ProcessRunner *runner, PoolUsage *ret, GError **error);
/* Thin LV of at least size_bytes, activated; idempotent; grows an existing smaller one. NO_SPACE above 90 % use or when
 * size_bytes exceeds the pool. *ret_created (may be NULL): it was made new by this call. */
gboolean pool_lv_ensure(const ProcessRunner *runner, const char *lv, gint64 size_bytes, gboolean *ret_created,
                        GError **error);
/* The general form, for volume.c: the LV must carry `tag` (NULL: any) or it is somebody else's (REFUSED), and a new one
 * gets it, and `more_tag` (NULL: none) with it; without may_create a missing one is NOT_FOUND. */
gboolean pool_lv_converge(const ProcessRunner *runner, const char *lv, gint64 size_bytes, const char *tag,
                          const char *more_tag, gboolean may_create, gboolean *ret_created, GError **error);
/* Whether the LV is there, and whether it carries all of `tags` (NULL-terminated). */
gboolean pool_lv_look(const ProcessRunner *runner, const char *lv, const char *const *tags, gboolean *ret_present,
                      gboolean *ret_tagged, GError **error);
gboolean pool_lv_activate(const ProcessRunner *runner, const char *lv, GError **error); /* NOT_FOUND */
gboolean pool_lv_remove(const ProcessRunner *runner, const char *lv, GError **error);   /* absent is fine */
/* Whether the pool stays under 90 % when everything in these LVs is written once more, beside snapshots of them:
 * NO_SPACE with the figures. */
gboolean pool_room_to_overwrite(const ProcessRunner *runner, const char *const *lvs, GError **error);
/* Thin snapshot of a thin LV, not activated; idempotent by its name. NOT_FOUND, NO_SPACE above 90 % use. */
gboolean pool_lv_snapshot(const ProcessRunner *runner, const char *lv, const char *snapshot, GError **error);
char *pool_lv_path(const char *lv); /* /dev/holdfast/<lv>; caller frees */
