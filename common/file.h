/* SPDX-License-Identifier: Apache-2.0
 * Small files, read with a limit and written durably. */
#pragma once

#include <glib.h>
#include <sys/types.h>

/* Replace `path` atomically and durably: temporary file with `mode`, fsync, rename, fsync of the folder. Parent folders
 * are made (0755). length -1: NUL-terminated. */
gboolean file_write_durable(const char *path, const char *content, gssize length, mode_t mode, GError **error);

/* Read a whole file of at most max_bytes; NUL-terminated, caller frees. NOT_FOUND when there is none, INVALID when
 * larger. */
char *file_read(const char *path, gsize max_bytes, GError **error);
