/* SPDX-License-Identifier: Apache-2.0
 * Pacemaker's secret files. Without them a node cannot shoot, so they are written before anything refers to them, kept
 * over restarts, and removed only for a device that is surely gone. */
#include "fencing/secret_files.h"

#include "common/error.h"
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OURS ".holdfast" /* in each folder we made: an operator may keep secrets of his own beside ours */
#define FILE_MAX_BYTES 1024

/* A folder that only we can write to: everything above it belongs to Pacemaker's user. */
static gboolean folder_ensure(const char *path, GError **error)
{
    struct stat found;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        int err = errno;
        return holdfast_error_set_errno(error, err, "make %s", path);
    }
    if (lstat(path, &found) != 0) {
        int err = errno;
        return holdfast_error_set_errno(error, err, "look at %s", path);
    }
    if (!S_ISDIR(found.st_mode) || found.st_uid != geteuid() || (found.st_mode & 022)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                    "%s: must be a folder that belongs to root and that nobody else may write to", path);
        return FALSE;
    }
    return TRUE;
}

static gboolean folder_sync(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        int err = errno;
        if (fd >= 0) {
            close(fd);
        }
        return holdfast_error_set_errno(error, err, "sync %s", path);
    }
    close(fd);
    return TRUE;
}

/* These folders hold files only. What is no folder, a link to one included, goes by itself. */
static void folder_remove(const char *path)
{
    if (unlink(path) == 0) {
        return;
    }
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        unlink(file);
    }
    rmdir(path);
}

/* File name -> content, as the device's folder should be; empty for a device without secrets. */
static GHashTable *files_wanted(const FenceDevice *device)
{
    GHashTable *files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (char **each = device->parameters; each && *each; each++) {
        const char *value = strchr(*each, '=') ? strchr(*each, '=') + 1 : "";
        if (fence_secret_parameter(*each) && fence_secret_fits(value)) {
            char *name = g_strndup(*each, (gsize) (value - *each) - 1);
            g_hash_table_insert(files, g_strconcat(name, ".sign", NULL),
                                g_compute_checksum_for_string(G_CHECKSUM_MD5, value, -1));
            g_hash_table_insert(files, name, g_strdup(value));
        }
    }
    if (g_hash_table_size(files) > 0) {
        g_hash_table_insert(files, g_strdup(OURS), g_strdup(""));
    }
    return files;
}

static gboolean file_is(const char *folder, const char *name, const char *content)
{
    struct stat found;
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *text = NULL;
    if (lstat(path, &found) != 0 || !S_ISREG(found.st_mode) || (found.st_mode & 077) || found.st_uid != geteuid()) {
        return FALSE;
    }
    text = file_read(path, FILE_MAX_BYTES, NULL);
    return text && strcmp(text, content) == 0;
}

static gboolean folder_is(const char *path, GHashTable *files)
{
    struct stat found;
    if (lstat(path, &found) != 0 || !S_ISDIR(found.st_mode) || (found.st_mode & 077) || found.st_uid != geteuid()) {
        return FALSE;
    }
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint right = 0;
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        const char *content = g_hash_table_lookup(files, name);
        if (!content || !file_is(path, name, content)) {
            return FALSE;
        }
        right++;
    }
    return right == g_hash_table_size(files);
}

static gboolean folder_fill(const char *path, GHashTable *files, GError **error)
{
    GHashTableIter iter;
    gpointer name, content;
    g_hash_table_iter_init(&iter, files);
    while (g_hash_table_iter_next(&iter, &name, &content)) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        if (!file_write_durable(file, content, -1, 0600, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* The new folder takes the place of the old one in one step: the fencer never sees a value without its sum. */
static gboolean folder_replace(const char *folder, const char *path, GHashTable *files, GError **error)
{
    g_autofree char *made = g_build_filename(folder, ".hf-XXXXXX", NULL);
    if (!g_mkdtemp_full(made, 0700)) {
        int err = errno;
        return holdfast_error_set_errno(error, err, "make a folder in %s", folder);
    }
    gboolean done = folder_fill(made, files, error);
    if (done && renameat2(AT_FDCWD, made, AT_FDCWD, path, RENAME_EXCHANGE) != 0 && rename(made, path) != 0) {
        int err = errno;
        done = holdfast_error_set_errno(error, err, "replace %s", path);
    }
    folder_remove(made); /* what was there before, or what could not be finished */
    return done && folder_sync(folder, error);
}

static gboolean device_sync(const char *folder, const FenceDevice *device, GError **error)
{
    g_autoptr(GHashTable) files = files_wanted(device);
    g_autofree char *name = g_strconcat("fence-", device->node, NULL);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    return g_hash_table_size(files) == 0 || folder_is(path, files) || folder_replace(folder, path, files, error);
}

static gboolean is_wanted(const GPtrArray *devices, const char *self, const char *name)
{
    for (guint i = 0; i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        g_autofree char *digest = fence_secret_digest(device);
        if (digest && !g_str_equal(device->node, self) && g_str_equal(device->node, name + strlen("fence-"))) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Also what a crash left half made. */
static void remove_others(const char *folder, const GPtrArray *devices, const char *self)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_autofree char *mark = g_build_filename(path, OURS, NULL);
        gboolean gone = g_str_has_prefix(name, "fence-") && !is_wanted(devices, self, name) &&
                        g_file_test(mark, G_FILE_TEST_IS_REGULAR);
        if (gone || g_str_has_prefix(name, ".hf-")) {
            folder_remove(path);
        }
    }
}

static int text_compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

gboolean secret_files_sync(const char *folder, const GPtrArray *devices, const char *self, gboolean complete,
                           char ***ret_stored, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(folder);
    g_autoptr(GPtrArray) stored = g_ptr_array_new();
    gboolean well = folder_ensure(parent, error) && folder_ensure(folder, error);
    for (guint i = 0; well && i < devices->len; i++) {
        const FenceDevice *device = devices->pdata[i];
        g_autofree char *digest = g_str_equal(device->node, self) ? NULL : fence_secret_digest(device);
        well = !digest || device_sync(folder, device, error);
        if (well && digest) {
            g_ptr_array_add(stored, g_steal_pointer(&digest));
        }
    }
    if (well && complete) {
        remove_others(folder, devices, self);
    }
    g_ptr_array_sort(stored, text_compare);
    g_ptr_array_add(stored, NULL);
    *ret_stored = (char **) g_ptr_array_free(g_steal_pointer(&stored), FALSE);
    return well;
}
