/* SPDX-License-Identifier: Apache-2.0
 * DRBD's state from the kernel's files. By itself in one object, so that a test can put its own world in its place. */
#include "common/error.h"
#include "common/file.h"
#include "storage/drbd_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PROC_DRBD "/proc/drbd"
#define PROC_DRBD_MAX (4u * 1024 * 1024)

gboolean drbd_state_read(int minor, DrbdState *ret, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = file_read(PROC_DRBD, PROC_DRBD_MAX, &problem);
    if (!text && holdfast_error_code(problem) != HOLDFAST_ERROR_NOT_FOUND) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    drbd_state_parse(text ? text : "", minor, ret);
    return TRUE;
}

gint64 drbd_device_size_bytes(int minor)
{
    g_autofree char *path = g_strdup_printf("/sys/class/block/drbd%d/size", minor);
    g_autofree char *text = file_read(path, 64, NULL);
    return text ? g_ascii_strtoll(text, NULL, 10) * 512 : 0;
}

gint64 drbd_backing_size_bytes(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    if (fd >= 0) {
        close(fd);
    }
    return MAX(end, 0);
}

void drbd_size_note_remove(int minor)
{
    g_autofree char *path = g_strdup_printf("/var/lib/drbd/drbd-minor-%d.lkbd", minor);
    unlink(path);
}
