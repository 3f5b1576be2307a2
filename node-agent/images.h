/* SPDX-License-Identifier: Apache-2.0
 * The images of this node against the image documents of the store: fetched when a guest is to be filled from one,
 * removed when the document is gone or does not name this node. */
#pragma once

#include "node-agent/daemon.h"

#include <gio/gio.h>

/* One line for people, at most once a second while an image is fetched. */
typedef void (*ImagesProgress)(const char *text, gpointer user_data);

/* Have every image that `volumes` (of Volume) are filled from on this node; fetches what is missing and adds this node
 * to the image's holders. Blocks. NOT_FOUND: deleted meanwhile; UNAVAILABLE: every holder is away (named); BUSY:
 * another task is fetching or importing it; else what image_fetch() says, after every holder was tried. */
gboolean images_ensure(Daemon *daemon, const GPtrArray *volumes, ImagesProgress on_progress, gpointer user_data,
                       GCancellable *cancellable, GError **error);

/* Remove what is in the image folder and should not be. */
void images_collect(Daemon *daemon);

/* Serve images to other nodes from now on. FALSE: not possible now, try again. Main context only. */
gboolean images_serve(Daemon *daemon);

/* Held while an image's files are made or removed here: by imports too. As lock_take(). */
int images_lock(const char *name, int timeout_ms, GError **error);
