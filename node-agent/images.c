/* SPDX-License-Identifier: Apache-2.0
 * The images of this node.
 *
 * The document in the store says who holds an image; a file that it does not know of is no image. So a file is made
 * first and the document changed after it, a document is deleted first and the files after it, and what a crash leaves
 * in between is removed by images_collect(). Files are touched only under the image's lock, and removed only on the
 * word of the store itself: the cache may not have seen yet what has just been added. */
#include "node-agent/images.h"

#include "common/error.h"
#include "common/lock.h"
#include "common/log.h"
#include "node-agent/image_transfer.h"
#include "storage/image.h"

#include <string.h>
#include <sys/stat.h>

#define HOLD_TRIES 5

int images_lock(const char *name, int timeout_ms, GError **error)
{
    g_autofree char *lock = g_strconcat("image.", name, NULL);
    return lock_take(lock, timeout_ms, error);
}

static gboolean image_has_holder(const Image *image, const char *node)
{
    return image->nodes && g_strv_contains((const char *const *) image->nodes, node);
}

/* From the store, not the cache. NULL: error (NOT_FOUND: there is no such image). */
static Image *image_load(Daemon *daemon, const char *name, gint64 *ret_revision, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "image/", name, NULL);
    g_autoptr(GError) problem = NULL;
    g_autoptr(StoreEntry) entry = store_get(daemon->store, key, NULL, &problem);
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND,
                    "image '%s' was deleted: import it again under this name, or delete the guest", name);
        return NULL;
    }
    if (!entry) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    *ret_revision = entry->mod_revision;
    return object_from_text(&image_type, entry->value, key, error);
}

/* Add this node to the holders. */
static gboolean image_hold(Daemon *daemon, const char *name, GError **error)
{
    g_autofree char *key = g_strconcat(STORE_ROOT "image/", name, NULL);
    for (int tries = 0; tries < HOLD_TRIES; tries++) {
        gint64 revision = 0;
        g_autoptr(GError) problem = NULL;
        g_autoptr(Image) image = image_load(daemon, name, &revision, error);
        if (!image || image_has_holder(image, daemon->config->node)) {
            return image != NULL;
        }
        g_autoptr(GStrvBuilder) nodes = g_strv_builder_new();
        g_strv_builder_addv(nodes, (const char **) image->nodes);
        g_strv_builder_add(nodes, daemon->config->node);
        g_strfreev(image->nodes);
        image->nodes = g_strv_builder_end(nodes);
        g_autofree char *text = object_to_text(&image_type, image);
        if (store_put(daemon->store, key, text, revision, 0, NULL, &problem)) {
            return TRUE;
        }
        if (!g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT)) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CONFLICT, "image '%s' changed too often", name);
    return FALSE;
}

static gboolean image_is_here(Daemon *daemon, const Image *image)
{
    struct stat st;
    g_autofree char *path = image_path(image->name);
    return image_has_holder(image, daemon->config->node) && stat(path, &st) == 0 && st.st_size == image->size_bytes;
}

/* ---- fetching ---- */

typedef struct {
    ImagesProgress on_progress;
    gpointer user_data;
    const char *image, *node;
    gint64 reported_us;
} Report;

static void on_received(gint64 done_bytes, gint64 total_bytes, gpointer user_data)
{
    Report *report = user_data;
    gint64 now_us = g_get_monotonic_time();
    if (now_us - report->reported_us < G_USEC_PER_SEC) {
        return;
    }
    report->reported_us = now_us;
    g_autofree char *text =
        g_strdup_printf("fetching image '%s' from %s: %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT " MiB", report->image,
                        report->node, done_bytes >> 20, total_bytes >> 20);
    report->on_progress(text, report->user_data);
}

static gboolean fetch_from(Daemon *daemon, const Image *image, const char *holder, Report *report,
                           GCancellable *cancellable, GError **error)
{
    g_autofree char *key = g_strconcat("node/", holder, NULL);
    g_autoptr(Node) node = cache_object(daemon->cache, &node_type, key, NULL);
    if (!node || !daemon_node_online(daemon, holder)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_UNAVAILABLE, "image '%s': node %s, which has it, is down",
                    image->name, holder);
        return FALSE;
    }
    const char *addresses[] = {node->ring1 ? node->ring1 : node->ring0, node->ring0, NULL};
    report->node = holder;
    report->reported_us = 0;
    ImageFetch fetch = {.context = setup_context_default(),
                        .addresses = addresses,
                        .port = IMAGE_PORT,
                        .node = holder,
                        .folder = IMAGE_FOLDER,
                        .image = image->name,
                        .sha256 = image->sha256,
                        .size_bytes = image->size_bytes,
                        .on_received = on_received,
                        .user_data = report,
                        .cancellable = cancellable};
    return image_fetch(&fetch, error);
}

/* From the first holder that gives it; the error tells what each said. */
static gboolean fetch_from_any(Daemon *daemon, const Image *image, Report *report, GCancellable *cancellable,
                               GError **error)
{
    g_autoptr(GString) said = g_string_new(NULL);
    int code = HOLDFAST_ERROR_REFUSED;
    for (char **holder = image->nodes; holder && *holder; holder++) {
        g_autoptr(GError) problem = NULL;
        if (g_str_equal(*holder, daemon->config->node)) {
            continue;
        }
        if (fetch_from(daemon, image, *holder, report, cancellable, &problem)) {
            return TRUE;
        }
        code = holdfast_error_code(problem);
        g_string_append_printf(said, "%s%s", said->len ? "; " : "", problem->message);
    }
    if (said->len) {
        g_set_error(error, HOLDFAST_ERROR, code, "%s; it is tried again", said->str);
    } else {
        g_set_error(error, HOLDFAST_ERROR, code,
                    "image '%s' is not where its document says, on this node alone: delete guest and image, and import "
                    "the image again",
                    image->name);
    }
    return FALSE;
}

/* Under the lock; somebody else may just have finished. */
static gboolean image_get(Daemon *daemon, const char *name, Report *report, GCancellable *cancellable, GError **error)
{
    gint64 revision = 0;
    g_autoptr(Image) image = image_load(daemon, name, &revision, error);
    if (!image || image_is_here(daemon, image)) {
        return image != NULL;
    }
    if (!fetch_from_any(daemon, image, report, cancellable, error)) {
        return FALSE;
    }
    if (!image_hold(daemon, name, error)) {
        image_folder_clean(IMAGE_FOLDER, name);
        return FALSE;
    }
    g_autofree char *object = g_strconcat("image/", name, NULL);
    daemon_event(daemon, "image.copied", object, "copied from %s to %s", report->node, daemon->config->node);
    return TRUE;
}

static gboolean image_ensure(Daemon *daemon, const char *name, Report *report, GCancellable *cancellable,
                             GError **error)
{
    gint64 revision = 0;
    g_autoptr(Image) image = image_load(daemon, name, &revision, error);
    if (!image || image_is_here(daemon, image)) {
        return image != NULL;
    }
    LOCK_AUTO int lock = images_lock(name, 0, NULL);
    if (lock < 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "waiting: image '%s' is being fetched to this node for another guest", name);
        return FALSE;
    }
    return image_get(daemon, name, report, cancellable, error);
}

gboolean images_ensure(Daemon *daemon, const GPtrArray *volumes, ImagesProgress on_progress, gpointer user_data,
                       GCancellable *cancellable, GError **error)
{
    for (guint i = 0; i < volumes->len; i++) {
        const char *name = ((const Volume *) volumes->pdata[i])->image;
        Report report = {.on_progress = on_progress, .user_data = user_data, .image = name};
        if (name && !image_ensure(daemon, name, &report, cancellable, error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- removing ---- */

static gboolean cached_as_ours(Daemon *daemon, const char *name)
{
    g_autofree char *key = g_strconcat("image/", name, NULL);
    g_autoptr(Image) image = cache_object(daemon->cache, &image_type, key, NULL);
    return image && image_has_holder(image, daemon->config->node);
}

static void collect_one(Daemon *daemon, const char *name)
{
    gint64 revision = 0;
    g_autoptr(GError) error = NULL;
    LOCK_AUTO int lock = images_lock(name, 0, NULL);
    if (lock < 0) {
        return; /* being made: looked at again in the next round */
    }
    g_autoptr(Image) image = image_load(daemon, name, &revision, &error);
    gboolean unknown = g_error_matches(error, HOLDFAST_ERROR, HOLDFAST_ERROR_NOT_FOUND);
    if (unknown || (image && !image_has_holder(image, daemon->config->node))) {
        image_folder_clean(IMAGE_FOLDER, name);
        log_line(LOG_LEVEL_NOTICE, "image '%s': removed from this node, %s", name,
                 unknown ? "it was deleted" : "which is not named as a holder");
    }
}

void images_collect(Daemon *daemon)
{
    /* A store that does not know this node is a fault of its content, no order to delete everything. */
    g_autofree char *key = g_strconcat("node/", daemon->config->node, NULL);
    g_autoptr(Node) self = cache_object(daemon->cache, &node_type, key, NULL);
    g_auto(GStrv) names = image_folder_names(IMAGE_FOLDER);
    for (char **name = names; self && *name; name++) {
        if (!cached_as_ours(daemon, *name)) {
            collect_one(daemon, *name);
        }
    }
}

/* ---- serving ---- */

static gboolean on_offered(const char *name, const char *sha256, gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autofree char *key = g_strconcat("image/", name, NULL);
    g_autoptr(Image) image = cache_object(daemon->cache, &image_type, key, NULL);
    return image && image_has_holder(image, daemon->config->node) && g_strcmp0(image->sha256, sha256) == 0;
}

gboolean images_serve(Daemon *daemon)
{
    g_autoptr(GError) error = NULL;
    const NodeConfig *self = daemon->config;
    gboolean second = self->ring1 && !g_str_equal(self->ring1, self->ring0);
    const char *addresses[] = {self->ring0, second ? self->ring1 : NULL, NULL};
    if (!image_server_new(setup_context_default(), addresses, IMAGE_PORT, IMAGE_FOLDER, on_offered, daemon, &error)) {
        log_line(LOG_LEVEL_WARNING, "other nodes cannot fetch images from this one: %s", error->message);
        return FALSE;
    }
    return TRUE;
}
