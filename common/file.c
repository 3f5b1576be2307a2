/* SPDX-License-Identifier: Apache-2.0
 * Small files, read with a limit and written durably. */
#include "common/file.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static gboolean write_all(int fd, const char *content, gsize length)
{
    while (length > 0) {
        ssize_t put = write(fd, content, length);
        if (put < 0 && errno != EINTR) {
            return FALSE;
        }
        if (put > 0) {
            content += put;
            length -= (gsize) put;
        }
    }
    return TRUE;
}

static gboolean folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return FALSE;
    }
    int rc = fsync(fd);
    int err = errno;
    close(fd);
    errno = err;
    return rc == 0;
}

gboolean file_write_durable(const char *path, const char *content, gssize length, mode_t mode, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(path);
    g_autofree char *temporary = g_strdup_printf("%s.XXXXXX", path);
    if (g_mkdir_with_parents(folder, 0755) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make folder %s", folder);
    }
    int fd = g_mkstemp_full(temporary, O_RDWR | O_CLOEXEC, (int) mode);
    if (fd < 0) {
        return holdfast_error_set_errno(error, errno, "cannot write in %s", folder);
    }
    gboolean ok = fchmod(fd, mode) == 0 && write_all(fd, content, length < 0 ? strlen(content) : (gsize) length) &&
                  fsync(fd) == 0;
    int err = errno;
    close(fd);
    if (ok && (rename(temporary, path) != 0 || !folder_sync(folder))) {
        ok = FALSE;
        err = errno;
    }
    if (!ok) {
        unlink(temporary);
        return holdfast_error_set_errno(error, err, "cannot write %s", path);
    }
    return TRUE;
}

char *file_read(const char *path, gsize max_bytes, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        holdfast_error_set_errno(error, errno, "cannot open %s", path);
        return NULL;
    }
    g_autoptr(GString) content = g_string_new(NULL);
    char buffer[16384];
    ssize_t got;
    while ((got = TEMP_FAILURE_RETRY(read(fd, buffer, sizeof(buffer)))) > 0 && content->len <= max_bytes) {
        g_string_append_len(content, buffer, got);
    }
    int err = errno;
    close(fd);
    if (got < 0) {
        holdfast_error_set_errno(error, err, "cannot read %s", path);
        return NULL;
    }
    if (content->len > max_bytes) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "%s: larger than %" G_GSIZE_FORMAT " bytes", path,
                    max_bytes);
        return NULL;
    }
    return g_string_free(g_steal_pointer(&content), FALSE);
}
