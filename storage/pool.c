/* SPDX-License-Identifier: Apache-2.0
 * The thin pool, through lvm2's commands. Everything is looked at as a report in JSON before anything is changed, so
 * each function may be repeated after a kill at any point.
 *
 * A replica's LV carries the tag hf-uuid-<guest uuid> from the moment it exists (lvcreate --addtag is one metadata
 * commit): a node that was away while a guest was deleted and another of the same name was made must not take the old
 * LV for the new one. */
#include "storage/pool.h"

#include "common/error.h"
#include "common/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PVS "/sbin/pvs"
#define LVS "/sbin/lvs"
#define VGS "/sbin/vgs"
#define MIB (1024 * (gint64) 1024)
#define GIB (1024 * MIB)
#define EXTENT (4 * MIB)
#define LOOK_TIMEOUT_MS 15000
#define CHANGE_TIMEOUT_MS 60000 /* lvcreate took 2.4 s in an emulated node */
#define POOL_FULL_PERMILLE 900

static gint64 round_up(gint64 bytes, gint64 unit)
{
    return (bytes + unit - 1) / unit * unit;
}

gint64 pool_lv_size_bytes(gint64 volume_size_bytes)
{
    return round_up(volume_size_bytes + (volume_size_bytes + 32767) / 32768 + MIB, EXTENT);
}

char *pool_lv_path(const char *lv)
{
    return g_strdup_printf("/dev/%s/%s", POOL_VG, lv);
}

/* ---- reports ---- */

/* The rows ({"lv_name": "x", ...}) of one lvm report: the array under report[0].<kind>. Caller owns a reference. */
static json_t *report_rows(const char *text, const char *kind, GError **error)
{
    g_autoptr(json_t) document = json_text_parse(text, -1, "lvm report", error);
    if (!document) {
        return NULL;
    }
    json_t *rows = json_object_get(json_array_get(json_object_get(document, "report"), 0), kind);
    if (!json_is_array(rows)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "lvm's report has no '%s': is lvm2 2.03 installed?",
                    kind);
        return NULL;
    }
    return json_incref(rows);
}

static json_t *report(const ProcessRunner *runner, const char *program, const char *kind, const char *columns,
                      GError **error)
{
    g_autofree char *text = NULL;
    if (!process_call(runner, LOOK_TIMEOUT_MS, &text, error, program, "--reportformat", "json", "--units", "b",
                      "--nosuffix", "-o", columns, NULL)) {
        return NULL;
    }
    return report_rows(text, kind, error);
}

static const char *row_text(const json_t *row, const char *column)
{
    const char *text = json_string_value(json_object_get(row, column));
    return text ? text : "";
}

static gint64 row_int(const json_t *row, const char *column)
{
    return g_ascii_strtoll(row_text(row, column), NULL, 10);
}

static gint64 row_permille(const json_t *row, const char *column)
{
    return (gint64) (g_ascii_strtod(row_text(row, column), NULL) * 10 + 0.5);
}

/* All LVs of our VG; empty when the VG is not there. (`lvs holdfast` would fail without the VG, so all are asked for.)
 */
static json_t *lv_rows(const ProcessRunner *runner, GError **error)
{
    return report(runner, LVS, "lv",
                  "vg_name,lv_name,lv_size,pool_lv,data_percent,metadata_percent,lv_active,lv_tags,lv_when_full,"
                  "lv_metadata_size,vg_size,vg_free",
                  error);
}

static const json_t *lv_find(const json_t *rows, const char *lv)
{
    gsize index;
    json_t *row;
    json_array_foreach ((json_t *) rows, index, row) {
        if (strcmp(row_text(row, "vg_name"), POOL_VG) == 0 && strcmp(row_text(row, "lv_name"), lv) == 0) {
            return row;
        }
    }
    return NULL;
}

/* ---- pool ---- */

/* What `device` is to LVM. *ret_is_pv: a PV of ours or of no VG. REFUSED when it, or our VG, is somebody else's. */
static gboolean device_look(const ProcessRunner *runner, const char *device, gboolean *ret_is_pv, gboolean *ret_in_vg,
                            GError **error)
{
    g_autoptr(json_t) rows = report(runner, PVS, "pv", "pv_name,vg_name", error);
    if (!rows) {
        return FALSE;
    }
    char *resolved = realpath(device, NULL);
    const char *name = resolved ? resolved : device;
    const char *elsewhere = NULL;
    const char *other_vg = NULL;
    gsize index;
    json_t *row;
    *ret_is_pv = *ret_in_vg = FALSE;
    json_array_foreach (rows, index, row) {
        const char *vg = row_text(row, "vg_name");
        gboolean here = strcmp(row_text(row, "pv_name"), name) == 0 || strcmp(row_text(row, "pv_name"), device) == 0;
        if (here) {
            *ret_is_pv = TRUE;
            *ret_in_vg = strcmp(vg, POOL_VG) == 0;
            other_vg = *vg && !*ret_in_vg ? vg : NULL;
        } else if (strcmp(vg, POOL_VG) == 0) {
            elsewhere = row_text(row, "pv_name");
        }
    }
    free(resolved);
    if (other_vg) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
            "storage_device: %s belongs to volume group '%s'; if nothing on it is needed: vgremove %s, pvremove %s",
            device, other_vg, other_vg, device);
        return FALSE;
    }
    if (elsewhere && !*ret_in_vg) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "storage_device: volume group '%s' is on %s already, not on %s", POOL_VG, elsewhere, device);
        return FALSE;
    }
    return TRUE;
}

/* REFUSED when wipefs knows anything on the device: a partition table, a file system, RAID or LVM member, ... */
static gboolean device_must_be_blank(const ProcessRunner *runner, const char *device, GError **error)
{
    g_autofree char *text = NULL;
    if (!process_call(runner, LOOK_TIMEOUT_MS, &text, error, "/sbin/wipefs", "--no-act", "--parsable", device, NULL)) {
        return FALSE;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        if (lines[i][0] != '\0' && lines[i][0] != '#') {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                        "storage_device: %s is not empty (wipefs: %s); if nothing on it is needed: wipefs --all %s",
                        device, lines[i], device);
            return FALSE;
        }
    }
    return TRUE;
}

/* Sizes in whole extents. 2 % of the VG stay free as the reserve of a full pool (pool_state.h). Metadata
 * gets at least 16 MiB and 1/512 of the VG (twice what 64 KiB chunks need when every one is mapped): a full metadata LV
 * is far worse than a full data LV. It is there twice: lvm2 keeps a spare of the same size to repair into. */
static gboolean pool_lv_create(const ProcessRunner *runner, GError **error)
{
    g_autoptr(json_t) rows = report(runner, VGS, "vg", "vg_name,vg_size,vg_free", error);
    if (!rows) {
        return FALSE;
    }
    gint64 size = 0, available = 0;
    gsize index;
    json_t *row;
    json_array_foreach (rows, index, row) {
        if (strcmp(row_text(row, "vg_name"), POOL_VG) == 0) {
            size = row_int(row, "vg_size");
            available = row_int(row, "vg_free");
        }
    }
    gint64 metadata = round_up(CLAMP(size / 512, 16 * MIB, 15 * GIB), EXTENT);
    gint64 data = (available - size / 50 - 2 * metadata) / EXTENT * EXTENT;
    if (data < 64 * MIB) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "storage_device: volume group '%s' has %" G_GINT64_FORMAT " MiB free, too little for a thin pool",
                    POOL_VG, available / MIB);
        return FALSE;
    }
    g_autofree char *data_text = g_strdup_printf("%" G_GINT64_FORMAT "b", data);
    g_autofree char *metadata_text = g_strdup_printf("%" G_GINT64_FORMAT "b", metadata);
    return process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvcreate", "--yes", "--type", "thin-pool",
                        "--name", POOL_LV, "--size", data_text, "--poolmetadatasize", metadata_text, "--chunksize",
                        "64k", "--zero", "y", POOL_VG, NULL);
}

/* lvcreate of Debian 12 (2.03.16) takes --errorwhenfull for no thin pool, so it is a second step: writes to a full pool
 * must fail at once (DRBD then drops to the other replica), not queue for 60 s. */
static gboolean pool_lv_setup(const ProcessRunner *runner, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    const json_t *pool = lv_find(rows, POOL_LV);
    if (!pool && !pool_lv_create(runner, error)) {
        return FALSE;
    }
    return (pool && strcmp(row_text(pool, "lv_when_full"), "error") == 0) ||
           process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvchange", "--yes", "--errorwhenfull", "y",
                        POOL_VG "/" POOL_LV, NULL);
}

gboolean pool_create(const ProcessRunner *runner, const char *device, GError **error)
{
    gboolean is_pv, in_vg;
    if (!device || device[0] != '/') {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                    "storage_device: must be the path of a block device");
        return FALSE;
    }
    if (!device_look(runner, device, &is_pv, &in_vg, error)) {
        return FALSE;
    }
    if (!is_pv && (!device_must_be_blank(runner, device, error) ||
                   !process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/pvcreate", "--yes", device, NULL))) {
        return FALSE;
    }
    if (!in_vg && !process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/vgcreate", "--yes",
                                "--physicalextentsize", "4m", POOL_VG, device, NULL)) {
        return FALSE;
    }
    return pool_lv_setup(runner, error);
}

static gboolean usage_from_rows(const json_t *rows, PoolUsage *ret, GError **error)
{
    const json_t *pool = lv_find(rows, POOL_LV);
    if (!pool) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "there is no thin pool %s/%s on this node",
                    POOL_VG, POOL_LV);
        return FALSE;
    }
    *ret = (PoolUsage){.size_bytes = row_int(pool, "lv_size"),
                       .used_permille = row_permille(pool, "data_percent"),
                       .metadata_permille = row_permille(pool, "metadata_percent"),
                       .metadata_bytes = row_int(pool, "lv_metadata_size"),
                       .vg_size_bytes = row_int(pool, "vg_size"),
                       .vg_free_bytes = row_int(pool, "vg_free")};
    gsize index;
    json_t *row;
    json_array_foreach ((json_t *) rows, index, row) {
        if (strcmp(row_text(row, "vg_name"), POOL_VG) == 0 && strcmp(row_text(row, "pool_lv"), POOL_LV) == 0) {
            ret->virtual_bytes += row_int(row, "lv_size");
        }
    }
    return TRUE;
}

gboolean pool_usage(const ProcessRunner *runner, PoolUsage *ret, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    return rows && usage_from_rows(rows, ret, error);
}

/* ---- volumes ---- */

static gboolean pool_must_have_room(const json_t *rows, const char *lv, gint64 size_bytes, GError **error)
{
    PoolUsage usage;
    if (!usage_from_rows(rows, &usage, error)) {
        return FALSE;
    }
    if (usage.used_permille > POOL_FULL_PERMILLE || usage.metadata_permille > POOL_FULL_PERMILLE) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "no room for %s: the pool's data is %" G_GINT64_FORMAT ".%d %% and its metadata %" G_GINT64_FORMAT
                    ".%d %% full, the limit is 90 %%; delete guests or add a disk",
                    lv, usage.used_permille / 10, (int) (usage.used_permille % 10), usage.metadata_permille / 10,
                    (int) (usage.metadata_permille % 10));
        return FALSE;
    }
    if (size_bytes > usage.size_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                    "no room for %s: %" G_GINT64_FORMAT " MiB wanted, the whole pool has %" G_GINT64_FORMAT " MiB", lv,
                    size_bytes / MIB, usage.size_bytes / MIB);
        return FALSE;
    }
    return TRUE;
}

static gboolean lv_create(const ProcessRunner *runner, const char *lv, gint64 size_bytes, const char *tag,
                          const char *more_tag, GError **error)
{
    g_autofree char *size_text = g_strdup_printf("%" G_GINT64_FORMAT "b", round_up(size_bytes, EXTENT));
    const char *argv[20] = {"/sbin/lvcreate", "--yes", "--wipesignatures", "n",       "--type",     "thin",
                            "--name",         lv,      "--virtualsize",    size_text, "--thinpool", POOL_LV};
    int n = 12;
    const char *tags[] = {tag, more_tag};
    for (gsize i = 0; i < G_N_ELEMENTS(tags); i++) {
        if (tags[i]) {
            argv[n++] = "--addtag";
            argv[n++] = tags[i];
        }
    }
    argv[n] = POOL_VG;
    return process_run_ok(runner, argv, NULL, CHANGE_TIMEOUT_MS, NULL, error);
}

static gboolean row_has_tag(const json_t *row, const char *tag)
{
    g_auto(GStrv) tags = g_strsplit(row_text(row, "lv_tags"), ",", -1);
    return g_strv_contains((const char *const *) tags, tag);
}

static gboolean lv_activate(const ProcessRunner *runner, const char *lv, const json_t *row, GError **error)
{
    if (strcmp(row_text(row, "lv_active"), "active") == 0) {
        return TRUE;
    }
    g_autofree char *name = g_strdup_printf("%s/%s", POOL_VG, lv);
    return process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvchange", "--activate", "y",
                        "--ignoreactivationskip", name, NULL);
}

static gboolean lv_missing(const char *lv, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "there is no logical volume %s/%s on this node",
                POOL_VG, lv);
    return FALSE;
}

gboolean pool_lv_look(const ProcessRunner *runner, const char *lv, const char *const *tags, gboolean *ret_present,
                      gboolean *ret_tagged, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    const json_t *row = lv_find(rows, lv);
    *ret_present = *ret_tagged = row != NULL;
    for (; row && *tags; tags++) {
        *ret_tagged &= row_has_tag(row, *tags);
    }
    return TRUE;
}

gboolean pool_lv_converge(const ProcessRunner *runner, const char *lv, gint64 size_bytes, const char *tag,
                          const char *more_tag, gboolean may_create, gboolean *ret_created, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    const json_t *row = lv_find(rows, lv);
    if (ret_created) {
        *ret_created = !row;
    }
    if (!row) {
        return may_create ? pool_must_have_room(rows, lv, size_bytes, error) &&
                                lv_create(runner, lv, size_bytes, tag, more_tag, error)
                          : lv_missing(lv, error);
    }
    if (tag && !row_has_tag(row, tag)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "logical volume %s/%s belongs to an earlier guest of this name (tags '%s', wanted '%s'); if its "
                    "data is not "
                    "needed: lvremove %s/%s",
                    POOL_VG, lv, row_text(row, "lv_tags"), tag, POOL_VG, lv);
        return FALSE;
    }
    if (row_int(row, "lv_size") < size_bytes) {
        g_autofree char *name = g_strdup_printf("%s/%s", POOL_VG, lv);
        g_autofree char *size_text = g_strdup_printf("%" G_GINT64_FORMAT "b", round_up(size_bytes, EXTENT));
        if (!pool_must_have_room(rows, lv, size_bytes, error) ||
            !process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvextend", "--yes", "--size", size_text, name,
                          NULL)) {
            return FALSE;
        }
    }
    return lv_activate(runner, lv, row, error);
}

gboolean pool_lv_ensure(const ProcessRunner *runner, const char *lv, gint64 size_bytes, gboolean *ret_created,
                        GError **error)
{
    return pool_lv_converge(runner, lv, size_bytes, NULL, NULL, TRUE, ret_created, error);
}

gboolean pool_lv_activate(const ProcessRunner *runner, const char *lv, GError **error)
{
    g_autofree char *path = pool_lv_path(lv);
    if (access(path, F_OK) == 0) { /* the link is there only while it is active; this spares the start path an lvs */
        return TRUE;
    }
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    const json_t *row = lv_find(rows, lv);
    return row ? lv_activate(runner, lv, row, error) : lv_missing(lv, error);
}

gboolean pool_lv_remove(const ProcessRunner *runner, const char *lv, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    if (!lv_find(rows, lv)) {
        return TRUE;
    }
    g_autofree char *name = g_strdup_printf("%s/%s", POOL_VG, lv);
    return process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvremove", "--yes", name, NULL);
}

gboolean pool_room_to_overwrite(const ProcessRunner *runner, const char *const *lvs, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    PoolUsage usage;
    gint64 wanted = 0;
    if (!rows || !usage_from_rows(rows, &usage, error)) {
        return FALSE;
    }
    for (; *lvs; lvs++) {
        const json_t *row = lv_find(rows, *lvs);
        wanted += row ? row_int(row, "lv_size") / 1000 * row_permille(row, "data_percent") : 0;
    }
    gint64 used = usage.size_bytes / 1000 * usage.used_permille;
    if (used + wanted <= usage.size_bytes / 1000 * POOL_FULL_PERMILLE) {
        return TRUE;
    }
    return holdfast_error_fail(
        error, HOLDFAST_ERROR_NO_SPACE,
        "the pool has %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " MiB in use, and keeping a snapshot "
        "needs up to %" G_GINT64_FORMAT " MiB more, above 90 %%: add a disk, or remove snapshots "
        "that are not needed any more (lvs holdfast, kept-*)",
        used / MIB, usage.size_bytes / MIB, wanted / MIB);
}

gboolean pool_lv_snapshot(const ProcessRunner *runner, const char *lv, const char *snapshot, GError **error)
{
    g_autoptr(json_t) rows = lv_rows(runner, error);
    if (!rows) {
        return FALSE;
    }
    if (lv_find(rows, snapshot)) {
        return TRUE;
    }
    if (!lv_find(rows, lv)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND, "there is no LV %s/%s on this node", POOL_VG, lv);
        return FALSE;
    }
    g_autofree char *origin = g_strdup_printf("%s/%s", POOL_VG, lv);
    return pool_must_have_room(rows, snapshot, 0, error) &&
           process_call(runner, CHANGE_TIMEOUT_MS, NULL, error, "/sbin/lvcreate", "--yes", "--quiet", "--snapshot",
                        "--name", snapshot, origin, NULL);
}
