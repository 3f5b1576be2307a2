/* SPDX-License-Identifier: Apache-2.0
 * Notes about lost copies. A doubt (a folder that cannot be read) counts as a note. */
#include "storage/lost_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_SIZE 512
#define RELEASED "released"
#define FULL "full"
#define ROOM "room"

/* The guest's folder. false for a name that is none: it must not lead elsewhere. */
static bool folder_path(const char *root, const char *guest, char path[PATH_SIZE])
{
    return guest && guest[0] != '\0' && guest[0] != '.' && !strchr(guest, '/') &&
           snprintf(path, PATH_SIZE, "%s/%s", root, guest) < PATH_SIZE;
}

static bool file_path(const char *folder, const char *name, char path[PATH_SIZE])
{
    return snprintf(path, PATH_SIZE, "%s/%s", folder, name) < PATH_SIZE;
}

/* The minor in BOOT_ID.MINOR.TIME, or -1. */
static int name_minor(const char *name)
{
    const char *dot = strchr(name, '.');
    char *end;
    long minor = dot ? strtol(dot + 1, &end, 10) : -1;
    return dot && end > dot + 1 && *end == '.' && minor >= 0 && minor < 1 << 20 ? (int) minor : -1;
}

/* Whether the name's first part, before the dot, is `word`. */
static bool name_begins(const char *name, const char *word)
{
    size_t length = strlen(word);
    return length > 0 && strncmp(name, word, length) == 0 && name[length] == '.';
}

static void add_name(const char *name, const char *boot_id, LostCopy *ret)
{
    bool full = name_begins(name, FULL);
    bool held = full || name_begins(name, boot_id);
    if (held || !ret->held) {
        ret->minor = name_minor(name);
    }
    bool released = name_begins(name, RELEASED);
    ret->full = ret->full || full;
    ret->released = released && (ret->released || !ret->stands);
    ret->stands = true;
    ret->held = ret->held || held;
    if (ret->n_names < LOST_COPY_NAMES_MAX && strlen(name) < LOST_COPY_NAME_SIZE) {
        strcpy(ret->names[ret->n_names++], name);
    }
}

void lost_copy_look(const char *root, const char *guest, const char *boot_id, LostCopy *ret)
{
    char folder[PATH_SIZE];
    *ret = (LostCopy){.minor = -1};
    errno = EINVAL;
    DIR *listing = folder_path(root, guest, folder) ? opendir(folder) : NULL;
    if (!listing) {
        ret->stands = ret->held = errno != ENOENT;
        return;
    }
    errno = 0;
    struct dirent *entry;
    while ((entry = readdir(listing))) {
        if (entry->d_name[0] != '.') { /* a temporary file of a writer that died is none yet */
            add_name(entry->d_name, boot_id, ret);
        }
        errno = 0;
    }
    if (errno != 0) {
        ret->stands = ret->held = true;
    }
    closedir(listing);
}

/* Attach and connect: not in the boot the disk failed in unless an operator released it, and not before the record
 * names the other node without us. While it names us the Primary may still be the frozen one that lost us: it would
 * take the new connection for an end of the interruption, and the writes it acknowledged after the error but before the
 * freeze would be missing here without DRBD knowing (equal data generations, so no resync; the kernel logs "No resync,
 * but N bits in bitmap"). Once we are out of the record the owner's handler has ended the freeze by a new generation,
 * or another node's start has, and a resync follows.
 *
 * Remove the note: when DRBD shows both copies equal. The notes were listed before DRBD was looked at, DRBD calls a
 * disk failed before the note of it is written, and exactly the listed ones go: so that picture is younger than each
 * failure they tell of. That the record does not name us would be no reason: a clear that the owner decided just before
 * the error may still arrive after our look, and then the record names a copy that lacks writes.
 *
 * Two cases have no other copy to wait for. With one replica a note means nothing after a restart. With this node alone
 * in the record the operator's word is enough, and nothing else is: acknowledged writes may be missing. */
LostCopyStep lost_copy_decide(const LostCopy *lost, const LostCopyFacts *facts)
{
    if (!lost->stands) {
        return LOST_COPY_ATTACH;
    }
    if (lost->held) {
        return LOST_COPY_WAIT;
    }
    if (!facts->has_peer || facts->copies_equal) {
        return LOST_COPY_REMOVE;
    }
    if (!facts->record_known) {
        return LOST_COPY_WAIT;
    }
    if (!facts->named) {
        return LOST_COPY_ATTACH;
    }
    return lost->released && !facts->peer_named ? LOST_COPY_REMOVE : LOST_COPY_WAIT;
}

static bool folder_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

static bool text_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return false;
    }
    size_t length = strlen(text);
    bool ok = write(fd, text, length) == (ssize_t) length && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

static bool folders_make(const char *root, const char *folder)
{
    char parent[PATH_SIZE];
    snprintf(parent, sizeof(parent), "%s", root);
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
    }
    return (mkdir(root, 0755) == 0 || errno == EEXIST) && (mkdir(folder, 0755) == 0 || errno == EEXIST) &&
           folder_sync(root) && (!slash || folder_sync(parent));
}

bool lost_copy_note(const char *root, const char *guest, int minor, const char *boot_id)
{
    char folder[PATH_SIZE], name[LOST_COPY_NAME_SIZE], temporary[PATH_SIZE], path[PATH_SIZE], text[512], when[40];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
    if (!folder_path(root, guest, folder) || strlen(boot_id) > 64 || strchr(boot_id, '/')) {
        errno = EINVAL;
        return false;
    }
    snprintf(name, sizeof(name), "%s.%d.%lld%09ld-%d", boot_id, minor, (long long) now.tv_sec, now.tv_nsec,
             (int) getpid());
    snprintf(text, sizeof(text),
             "The disk under DRBD minor %d failed here at %s (boot %s).\nWhat was written since is on the other node "
             "only: this copy of guest '%s' must not start.\nholdfastd takes this file away after a resync. Removing "
             "it by hand can lose acknowledged writes.\n",
             minor, when, boot_id, guest);
    if (!file_path(folder, name, path) || snprintf(temporary, sizeof(temporary), "%s/.%s", folder, name) >= PATH_SIZE ||
        !folders_make(root, folder)) {
        return false;
    }
    if (text_write(temporary, text) && rename(temporary, path) == 0) {
        return folder_sync(folder);
    }
    int err = errno;
    unlink(temporary);
    errno = err;
    return false;
}

/* One note's first part becomes `word`. Gone meanwhile is fine. */
static bool note_rename(const char *folder, const char *name, const char *word)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    const char *rest = strchr(name, '.');
    return rest && file_path(folder, name, from) &&
           snprintf(to, sizeof(to), "%s/%s%s", folder, word, rest) < PATH_SIZE &&
           (rename(from, to) == 0 || errno == ENOENT);
}

bool lost_copy_release(const char *root, const char *guest, const LostCopy *seen)
{
    char folder[PATH_SIZE];
    if (!folder_path(root, guest, folder)) {
        return false;
    }
    for (int i = 0; i < seen->n_names; i++) {
        if (strchr(seen->names[i], '.') && !name_begins(seen->names[i], RELEASED) &&
            !note_rename(folder, seen->names[i], RELEASED)) {
            return false;
        }
    }
    return folder_sync(folder);
}

/* TIME in BOOT_ID.MINOR.TIME is seconds and nine digits more. */
static long long name_time_s(const char *name)
{
    const char *minor = strchr(name, '.');
    const char *time = minor ? strchr(minor + 1, '.') : NULL;
    return time ? strtoll(time + 1, NULL, 10) / 1000000000 : -1;
}

bool lost_copy_blame_full(const char *root, const char *guest, const LostCopy *seen, const char *boot_id,
                          long long since_s)
{
    char folder[PATH_SIZE];
    if (!folder_path(root, guest, folder)) {
        return false;
    }
    for (int i = 0; i < seen->n_names; i++) {
        if (name_begins(seen->names[i], boot_id) && name_time_s(seen->names[i]) >= since_s &&
            !note_rename(folder, seen->names[i], FULL)) {
            return false;
        }
    }
    return folder_sync(folder);
}

bool lost_copy_room_again(const char *root, const char *guest, const LostCopy *seen)
{
    char folder[PATH_SIZE];
    if (!folder_path(root, guest, folder)) {
        return false;
    }
    for (int i = 0; i < seen->n_names; i++) {
        if (name_begins(seen->names[i], FULL) && !note_rename(folder, seen->names[i], ROOM)) {
            return false;
        }
    }
    return folder_sync(folder);
}

bool lost_copy_remove(const char *root, const char *guest, const LostCopy *seen)
{
    char folder[PATH_SIZE], path[PATH_SIZE];
    if (!folder_path(root, guest, folder)) {
        return false;
    }
    for (int i = 0; i < seen->n_names; i++) {
        if (!file_path(folder, seen->names[i], path) || (unlink(path) != 0 && errno != ENOENT)) {
            return false;
        }
    }
    /* The folder stays: a writer may be between making it and its first file. */
    return folder_sync(folder) || errno == ENOENT;
}
