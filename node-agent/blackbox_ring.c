/* SPDX-License-Identifier: Apache-2.0
 * Ring files in two halves. */
#include "node-agent/blackbox_ring.h"

#include "common/error.h"
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "{\"blackbox\":1}\n"

struct BlackboxRing {
    GMutex mutex;
    char *path, *old_path;
    gsize half_bytes;
    int file; /* -1: not open */
    gsize size;
    gboolean loaded; /* `place` is known */
    gboolean dirty;
    BlackboxPlace place;
    guint lost;
};

BlackboxRing *blackbox_ring_new(const char *folder, const char *node, gsize max_bytes)
{
    BlackboxRing *ring = g_new0(BlackboxRing, 1);
    g_mutex_init(&ring->mutex);
    ring->path = g_strdup_printf("%s/%s.log", folder, node);
    ring->old_path = g_strconcat(ring->path, ".old", NULL);
    ring->half_bytes = max_bytes / 2;
    ring->file = -1;
    return ring;
}

static void file_close(BlackboxRing *ring)
{
    if (ring->file >= 0) {
        close(ring->file);
    }
    ring->file = -1;
}

void blackbox_ring_free(BlackboxRing *ring)
{
    if (ring) {
        file_close(ring);
        g_free(ring->path);
        g_free(ring->old_path);
        g_mutex_clear(&ring->mutex);
        g_free(ring);
    }
}

/* --- reading
 * ----------------------------------------------------------------------------------------------------------------- */

static BlackboxLine *line_parse(const char *text, gsize length)
{
    g_autoptr(json_t) object =
        length <= BLACKBOX_LINE_MAX_BYTES ? json_text_parse(text, (gssize) length, "line", NULL) : NULL;
    return object ? blackbox_line_from_json(object, NULL) : NULL;
}

static void half_each(const BlackboxRing *ring, const char *path, BlackboxEach each, gpointer user_data)
{
    /* The half may be one line longer than its size. */
    g_autofree char *content = file_read(path, ring->half_bytes + BLACKBOX_LINE_MAX_BYTES, NULL);
    if (!content || !g_str_has_prefix(content, HEADER)) {
        return; /* none yet, or of a version that is not ours */
    }
    const char *end;
    for (const char *at = content + strlen(HEADER); (end = strchr(at, '\n')) != NULL; at = end + 1) {
        g_autoptr(BlackboxLine) line = line_parse(at, (gsize) (end - at));
        if (line) {
            each(line, user_data);
        }
    }
}

static void each_locked(BlackboxRing *ring, BlackboxEach each, gpointer user_data)
{
    half_each(ring, ring->old_path, each, user_data);
    half_each(ring, ring->path, each, user_data);
}

void blackbox_ring_each(BlackboxRing *ring, BlackboxEach each, gpointer user_data)
{
    g_mutex_lock(&ring->mutex);
    each_locked(ring, each, user_data);
    g_mutex_unlock(&ring->mutex);
}

static gboolean is_keepers(const BlackboxLine *line)
{
    return line->kind == BLACKBOX_CLOCK || line->kind == BLACKBOX_HEARD;
}

static void on_place(BlackboxLine *line, gpointer place)
{
    if (!is_keepers(line)) {
        blackbox_place_set(place, line->boot, line->mono_us);
    }
}

static void load(BlackboxRing *ring)
{
    if (!ring->loaded) {
        each_locked(ring, on_place, &ring->place);
        ring->loaded = TRUE;
    }
}

BlackboxPlace blackbox_ring_place(BlackboxRing *ring)
{
    g_mutex_lock(&ring->mutex);
    load(ring);
    BlackboxPlace place = ring->place;
    g_mutex_unlock(&ring->mutex);
    return place;
}

guint blackbox_ring_lost(BlackboxRing *ring)
{
    g_mutex_lock(&ring->mutex);
    guint lost = ring->lost;
    g_mutex_unlock(&ring->mutex);
    return lost;
}

/* --- writing
 * ----------------------------------------------------------------------------------------------------------------- */

/* All of it or nothing: a full disk takes a part, which is cut off again. */
static gboolean put(BlackboxRing *ring, const char *text, gsize length, GError **error)
{
    gsize done = 0;
    while (done < length) {
        ssize_t got = write(ring->file, text + done, length - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            int problem = got < 0 ? errno : ENOSPC;
            if (done > 0 && ftruncate(ring->file, (off_t) ring->size) != 0) {
                file_close(ring); /* opening it again cuts the torn line off */
            }
            return holdfast_error_set_errno(error, problem, "cannot write %s", ring->path);
        }
        done += (gsize) got;
    }
    ring->size += length;
    ring->dirty = TRUE;
    return TRUE;
}

/* Length up to the end of the last whole line. */
static gsize whole_lines(const BlackboxRing *ring, gboolean *ret_ours)
{
    g_autofree char *content = file_read(ring->path, 2 * ring->half_bytes + BLACKBOX_LINE_MAX_BYTES, NULL);
    *ret_ours = content && g_str_has_prefix(content, HEADER);
    const char *end = *ret_ours ? strrchr(content, '\n') : NULL;
    return end ? (gsize) (end + 1 - content) : 0;
}

static gboolean file_open(BlackboxRing *ring, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(ring->path);
    gboolean ours = FALSE;
    if (g_mkdir_with_parents(folder, 0700) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot make folder %s", folder);
    }
    gsize size = whole_lines(ring, &ours);
    ring->file = open(ring->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (ring->file < 0) {
        return holdfast_error_set_errno(error, errno, "cannot open %s", ring->path);
    }
    if (ftruncate(ring->file, (off_t) size) != 0) {
        holdfast_error_set_errno(error, errno, "cannot shorten %s", ring->path);
        file_close(ring);
        return FALSE;
    }
    ring->size = size;
    return ours || put(ring, HEADER, strlen(HEADER), error);
}

static gboolean make_room(BlackboxRing *ring, gsize length, GError **error)
{
    if (ring->file < 0 && !file_open(ring, error)) {
        return FALSE;
    }
    if (ring->size + length <= ring->half_bytes) {
        return TRUE;
    }
    file_close(ring);
    if (g_rename(ring->path, ring->old_path) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot rename %s", ring->path);
    }
    return file_open(ring, error);
}

static gboolean line_put(BlackboxRing *ring, const BlackboxLine *line, GError **error)
{
    g_autoptr(json_t) object = blackbox_line_to_json(line);
    g_autofree char *text = json_text_from(object);
    g_autofree char *whole = g_strconcat(text, "\n", NULL);
    gsize length = strlen(whole);
    return make_room(ring, length, error) && put(ring, whole, length, error);
}

/* Say what is missing before the first line that fits again. */
static gboolean confess(BlackboxRing *ring, const BlackboxLine *line, GError **error)
{
    if (ring->lost == 0 || is_keepers(line)) {
        return TRUE;
    }
    g_autofree char *text = g_strdup_printf("%u lines could not be kept: the disk was full or failed", ring->lost);
    g_autoptr(BlackboxLine) gap =
        blackbox_line_new(BLACKBOX_GAP, line->boot, line->mono_us, line->time_us, 4, "blackbox", text);
    if (!line_put(ring, gap, error)) {
        return FALSE;
    }
    ring->lost = 0;
    return TRUE;
}

static gboolean append_locked(BlackboxRing *ring, const BlackboxLine *line, GError **error)
{
    load(ring);
    if (!is_keepers(line) && blackbox_place_covers(&ring->place, line)) {
        return TRUE;
    }
    gboolean first = ring->lost == 0;
    gboolean ok = confess(ring, line, first ? error : NULL) && line_put(ring, line, first ? error : NULL);
    if (!is_keepers(line)) {
        blackbox_place_set(&ring->place, line->boot, line->mono_us); /* lost ones are not asked for again */
    }
    ring->lost += ok ? 0 : 1;
    return ok;
}

gboolean blackbox_ring_append(BlackboxRing *ring, const BlackboxLine *line, GError **error)
{
    g_mutex_lock(&ring->mutex);
    gboolean ok = append_locked(ring, line, error);
    g_mutex_unlock(&ring->mutex);
    return ok;
}

void blackbox_ring_sync(BlackboxRing *ring)
{
    g_mutex_lock(&ring->mutex);
    if (ring->dirty && ring->file >= 0) {
        fdatasync(ring->file);
        ring->dirty = FALSE;
    }
    g_mutex_unlock(&ring->mutex);
}
