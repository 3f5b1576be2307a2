/* SPDX-License-Identifier: Apache-2.0
 * Snapshot files. etcdctl writes to a temporary name; it gets its own only when it has been checked. */
#include "cluster/store_snapshot.h"

#include "common/error.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ETCDCTL "/usr/bin/etcdctl"
#define TAKE_TIMEOUT_MS 120000
#define STATUS_TIMEOUT_MS 60000
#define TEMPORARY "taking.db"
#define HASH_BYTES 32
#define ROOM_BYTES (256 * (gint64) (1024 * 1024)) /* left to etcd and everybody else on that disk */
#define PAGE_BYTES 512 /* bbolt pages are a multiple of this: what is over is the hash, or the file is none */

void store_snapshot_free(StoreSnapshot *snapshot)
{
    if (snapshot) {
        g_free(snapshot->name);
        g_free(snapshot->at);
        g_free(snapshot);
    }
}

StoreSnapshot *store_snapshot_parse(const char *name)
{
    int year, month, day, hour, minute, second, end = 0;
    long long revision;
    if (sscanf(name, "store-%4d%2d%2dT%2d%2d%2dZ-r%lld.db%n", &year, &month, &day, &hour, &minute, &second, &revision,
               &end) != 7 ||
        end == 0 || name[end] != '\0') {
        return NULL;
    }
    g_autoptr(GDateTime) time = g_date_time_new_utc(year, month, day, hour, minute, second);
    if (!time) {
        return NULL;
    }
    StoreSnapshot *snapshot = g_new0(StoreSnapshot, 1);
    snapshot->name = g_strdup(name);
    snapshot->at = g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ");
    snapshot->time_s = g_date_time_to_unix(time);
    snapshot->revision = revision;
    return snapshot;
}

static gboolean damaged(const char *path, GError **error)
{
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "%s is no whole snapshot (its checksum is wrong): take another one", path);
    return FALSE;
}

gboolean store_snapshot_check(const char *path, GError **error)
{
    FILE *file = fopen(path, "re");
    struct stat status;
    if (!file || fstat(fileno(file), &status) != 0) {
        int err = errno;
        g_clear_pointer(&file, fclose);
        return holdfast_error_set_errno(error, err, "cannot read %s", path);
    }
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    guchar buffer[65536], wanted[HASH_BYTES], found[HASH_BYTES];
    gsize left = status.st_size > HASH_BYTES ? (gsize) status.st_size - HASH_BYTES : 0, found_length = HASH_BYTES;
    gboolean ok = left > 0 && left % PAGE_BYTES == 0;
    while (ok && left > 0) {
        gsize part = fread(buffer, 1, MIN(left, sizeof(buffer)), file);
        ok = part > 0;
        left -= part;
        g_checksum_update(checksum, buffer, (gssize) part);
    }
    ok = ok && fread(wanted, 1, HASH_BYTES, file) == HASH_BYTES;
    fclose(file);
    g_checksum_get_digest(checksum, found, &found_length);
    return (ok && memcmp(wanted, found, HASH_BYTES) == 0) || damaged(path, error);
}

static gint newest_first(gconstpointer a, gconstpointer b)
{
    const StoreSnapshot *first = *(const StoreSnapshot *const *) a, *second = *(const StoreSnapshot *const *) b;
    return -strcmp(first->name, second->name);
}

GPtrArray *store_snapshot_list(const char *folder)
{
    GPtrArray *snapshots = g_ptr_array_new_with_free_func((GDestroyNotify) store_snapshot_free);
    g_autoptr(GDir) directory = g_dir_open(folder, 0, NULL);
    const char *name;
    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        StoreSnapshot *snapshot = store_snapshot_parse(name);
        GStatBuf status;
        if (snapshot && g_stat(path, &status) == 0) {
            snapshot->size_bytes = status.st_size;
            g_ptr_array_add(snapshots, snapshot);
        } else {
            store_snapshot_free(snapshot);
        }
    }
    g_ptr_array_sort(snapshots, newest_first);
    return snapshots;
}

guint store_snapshot_n_keep(const GPtrArray *snapshots, guint keep, gint64 keep_bytes)
{
    guint n = MIN(snapshots->len, 1);
    for (gint64 bytes = 0; n < snapshots->len && n < keep; n++) {
        bytes += ((const StoreSnapshot *) snapshots->pdata[n])->size_bytes;
        if (bytes > keep_bytes) {
            break;
        }
    }
    return n;
}

static gboolean sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    gboolean ok = fd >= 0 && fsync(fd) == 0;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = err;
    return ok;
}

static gboolean folder_make(const char *folder, GError **error)
{
    return (g_mkdir_with_parents(folder, 0700) == 0 && chmod(folder, 0700) == 0) ||
           holdfast_error_set_errno(error, errno, "cannot make folder %s", folder);
}

static gboolean revision_of(const ProcessRunner *runner, const char *path, gint64 *ret_revision, GError **error)
{
    g_autofree char *text = NULL;
    if (!process_call(runner, STATUS_TIMEOUT_MS, &text, error, ETCDCTL, "snapshot", "status", path, "-w", "json",
                      NULL)) {
        return FALSE;
    }
    g_autoptr(json_t) status = json_text_parse(text, -1, "etcdctl snapshot status", error);
    *ret_revision = json_integer_value(json_object_get(status, "revision"));
    return status != NULL;
}

static char *name_new(gint64 revision)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *time = g_date_time_format(now, "%Y%m%dT%H%M%SZ");
    return g_strdup_printf("store-%s-r%" G_GINT64_FORMAT ".db", time, revision);
}

static gboolean publish(const char *folder, const char *temporary, const char *path, GError **error)
{
    return (chmod(temporary, 0600) == 0 && sync_path(temporary, O_RDONLY) && rename(temporary, path) == 0 &&
            sync_path(folder, O_RDONLY | O_DIRECTORY)) ||
           holdfast_error_set_errno(error, errno, "cannot write %s", path);
}

/* `taken` stays whatever its name says: a clock that was wrong before must not remove what is newest now. */
static void remove_old(const char *folder, const char *taken)
{
    g_autoptr(GPtrArray) snapshots = store_snapshot_list(folder);
    for (guint i = store_snapshot_n_keep(snapshots, STORE_SNAPSHOT_KEEP, STORE_SNAPSHOT_KEEP_BYTES); i < snapshots->len;
         i++) {
        const char *name = ((const StoreSnapshot *) snapshots->pdata[i])->name;
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_strcmp0(name, taken) != 0) {
            g_unlink(path); /* one that stays is tried again the next time */
        }
    }
}

/* etcd writes its log to the same disk, and must never find it full for a snapshot's sake. */
static gboolean has_room(const char *folder, GError **error)
{
    g_autoptr(GPtrArray) snapshots = store_snapshot_list(folder);
    gint64 newest = snapshots->len > 0 ? ((const StoreSnapshot *) snapshots->pdata[0])->size_bytes : 0;
    gint64 wanted = 2 * newest + ROOM_BYTES;
    struct statvfs status;
    if (statvfs(folder, &status) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot look at %s", folder);
    }
    gint64 available = (gint64) status.f_bavail * (gint64) status.f_frsize;
    if (available >= wanted) {
        return TRUE;
    }
    remove_old(folder, NULL);
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NO_SPACE,
                "%s: %" G_GINT64_FORMAT " MiB are free and %" G_GINT64_FORMAT
                " are wanted for a snapshot of the store: make room on that disk",
                folder, available >> 20, wanted >> 20);
    return FALSE;
}

StoreSnapshot *store_snapshot_take(const ProcessRunner *runner, const char *folder, const char *socket, GError **error)
{
    g_autofree char *temporary = g_build_filename(folder, TEMPORARY, NULL);
    g_autofree char *part = g_strconcat(temporary, ".part", NULL); /* etcdctl's own temporary name */
    g_autofree char *endpoint = g_strconcat("--endpoints=unix://", socket, NULL);
    gint64 revision = 0;
    g_unlink(temporary);
    g_unlink(part);
    if (!folder_make(folder, error) || !has_room(folder, error) ||
        !process_call(runner, TAKE_TIMEOUT_MS, NULL, error, ETCDCTL, endpoint, "snapshot", "save", temporary, NULL) ||
        !store_snapshot_check(temporary, error) || !revision_of(runner, temporary, &revision, error)) {
        g_unlink(temporary);
        g_unlink(part);
        return NULL;
    }
    g_autofree char *name = name_new(revision);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (!publish(folder, temporary, path, error)) {
        return NULL;
    }
    remove_old(folder, name);
    StoreSnapshot *snapshot = store_snapshot_parse(name);
    GStatBuf status;
    snapshot->size_bytes = g_stat(path, &status) == 0 ? status.st_size : 0;
    return snapshot;
}
