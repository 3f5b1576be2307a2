/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/split_brain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 512

/* False for a name that is none: it must not lead elsewhere. */
static bool note_path(const char *root, const char *guest, char path[PATH_SIZE])
{
    errno = EINVAL;
    return guest && guest[0] != '\0' && guest[0] != '.' && !strchr(guest, '/') &&
           snprintf(path, PATH_SIZE, "%s/%s", root, guest) < PATH_SIZE;
}

static bool folders_make(const char *root)
{
    char parent[PATH_SIZE];
    snprintf(parent, sizeof(parent), "%s", root);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        mkdir(parent, 0755);
    }
    return mkdir(root, 0755) == 0 || errno == EEXIST;
}

bool split_brain_note(const char *root, const char *guest)
{
    char path[PATH_SIZE];
    if (!note_path(root, guest, path) || !folders_make(root)) {
        return false;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    return fd >= 0 && close(fd) == 0;
}

bool split_brain_is_noted(const char *root, const char *guest)
{
    char path[PATH_SIZE];
    return note_path(root, guest, path) && access(path, F_OK) == 0;
}

bool split_brain_forget(const char *root, const char *guest)
{
    char path[PATH_SIZE];
    return note_path(root, guest, path) && (unlink(path) == 0 || errno == ENOENT);
}
