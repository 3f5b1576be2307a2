/* SPDX-License-Identifier: Apache-2.0
 * A lock between processes of this node. */
#include "common/lock.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_FOLDER "/run/holdfast/lock"
#define POLL_MS 20

int lock_take(const char *name, int timeout_ms, GError **error)
{
    g_autofree char *path = g_build_filename(LOCK_FOLDER, name, NULL);
    g_mkdir_with_parents(LOCK_FOLDER, 0700);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        holdfast_error_set_errno(error, errno, "cannot open lock %s", path);
        return -1;
    }
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (g_get_monotonic_time() >= deadline_us) {
            close(fd);
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                        "'%s' is being worked on by another Holdfast process of this node", name);
            return -1;
        }
        g_usleep(POLL_MS * 1000);
    }
    return fd;
}

void lock_release(int *lock)
{
    if (*lock >= 0) {
        close(*lock);
        *lock = -1;
    }
}
