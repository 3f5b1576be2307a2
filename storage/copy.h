/* SPDX-License-Identifier: Apache-2.0
 * Sparse copy of a raw disk image into a file or block device, past the page cache where possible. */
#pragma once

#include <gio/gio.h>

#define COPY_BLOCK_BYTES (1024 * 1024)

typedef void (*CopyProgress)(gint64 done_bytes, gint64 total_bytes, gpointer user_data);

typedef struct {
    CopyProgress on_progress; /* may be NULL */
    gpointer user_data;
    GCancellable *cancellable; /* may be NULL */
    GChecksum *checksum;       /* may be NULL; is fed every byte, zeros too */
} CopyOptions;

/* Copy the whole of `source` to the front of `target`, which must exist; blocks that are all zero are not written, so
 * the target must read zero where nothing was written yet. The last block is filled up with zeros to 4096 bytes. fsync
 * at the end. `target` NULL: only read, for the checksum. NO_SPACE, CANCELLED. */
gboolean copy_sparse(const char *source, const char *target, const CopyOptions *options, GError **error);
