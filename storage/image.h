/* SPDX-License-Identifier: Apache-2.0
 * Disk images as raw files in /var/lib/holdfast/images. */
#pragma once

#include "common/process.h"

#include <gio/gio.h>

#define IMAGE_FOLDER "/var/lib/holdfast/images"

char *image_path(const char *name); /* caller frees */
/* Import a local file (raw or qcow2, found by qemu-img info; a backing file or any other format is INVALID; so is a
 * text, an archive, or a raw file without a boot signature or file system) as <name>.raw: converted to a temporary
 * file, fsync, renamed. Sets its virtual size and SHA-256. */
gboolean image_import(const ProcessRunner *runner, const char *name, const char *source_path, gint64 *ret_size_bytes,
                      char **ret_sha256, GError **error);
/* The same into another folder (tests). */
gboolean image_import_into(const ProcessRunner *runner, const char *folder, const char *name, const char *source_path,
                           gint64 *ret_size_bytes, char **ret_sha256, GError **error);
gboolean image_remove(const char *name, GError **error);

/* Where a copy that is being received lies until it is whole. Caller frees. */
char *image_receiving_path(const char *folder, const char *name);
/* Make the received copy the image <name>: only when it has this size and SHA-256 as read back from the disk (FAILED
 * otherwise). */
gboolean image_adopt(const char *folder, const char *name, gint64 size_bytes, const char *sha256,
                     GCancellable *cancellable, GError **error);
/* The names of all images of which there is anything in `folder`, whole or unfinished. Caller frees. */
char **image_folder_names(const char *folder);
/* Remove everything of <name> from `folder`. */
void image_folder_clean(const char *folder, const char *name);
/* NO_SPACE, with the figures, when `folder` could not take data_bytes more. */
gboolean image_folder_has_room(const char *folder, const char *name, gint64 data_bytes, GError **error);
