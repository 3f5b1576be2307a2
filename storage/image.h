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
