/* SPDX-License-Identifier: Apache-2.0
 * Sparse copy: 1 MiB blocks, O_DIRECT where the file system has it, holes by lseek(SEEK_DATA). */
#include "storage/copy.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_ALIGN 4096

typedef struct {
    int in, out;
    char *buffer; /* COPY_BLOCK_BYTES, aligned for O_DIRECT */
    gint64 done, total;
    const char *source, *target;
    const CopyOptions *options;
} Copy;

static int open_direct(const char *path, int flags)
{
    int fd = open(path, flags | O_DIRECT | O_CLOEXEC);
    return fd >= 0 || errno != EINVAL ? fd : open(path, flags | O_CLOEXEC); /* tmpfs has no O_DIRECT */
}

/* A block is read to its end or the end of the file. O_DIRECT gives short reads only there. */
static gssize block_read(const Copy *copy, gint64 offset)
{
    gsize have = 0;
    while (have < COPY_BLOCK_BYTES) {
        ssize_t got = pread(copy->in, copy->buffer + have, COPY_BLOCK_BYTES - have, offset + (gint64) have);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        have += (gsize) got;
        if (got == 0 || have % COPY_ALIGN != 0) {
            break;
        }
    }
    return (gssize) have;
}

static gboolean block_is_zero(const char *block, gsize length)
{
    return length == 0 || (block[0] == 0 && memcmp(block, block + 1, length - 1) == 0);
}

static gboolean block_write(const Copy *copy, gsize length, gint64 offset)
{
    for (gsize put = 0; put < length;) {
        ssize_t n = pwrite(copy->out, copy->buffer + put, length - put, offset + (gint64) put);
        if (n < 0 && errno != EINTR) {
            return FALSE;
        }
        put += n > 0 ? (gsize) n : 0;
    }
    return TRUE;
}

/* Account for `length` bytes of zeros that were not even read. */
static void skip_hole(Copy *copy, gint64 length)
{
    memset(copy->buffer, 0, COPY_BLOCK_BYTES);
    while (length > 0) {
        gint64 part = MIN(length, COPY_BLOCK_BYTES);
        if (copy->options->checksum) {
            g_checksum_update(copy->options->checksum, (const guchar *) copy->buffer, part);
        }
        copy->done += part;
        length -= part;
    }
}

static gboolean copy_block(Copy *copy, GError **error)
{
    gssize got = block_read(copy, copy->done);
    if (got <= 0) {
        return holdfast_error_set_errno(error, got < 0 ? errno : EIO, "cannot read %s at byte %" G_GINT64_FORMAT,
                                        copy->source, copy->done);
    }
    gint64 used = MIN((gint64) got, copy->total - copy->done);
    if (copy->options->checksum) {
        g_checksum_update(copy->options->checksum, (const guchar *) copy->buffer, used);
    }
    gsize padded = ((gsize) used + COPY_ALIGN - 1) / COPY_ALIGN * COPY_ALIGN;
    memset(copy->buffer + used, 0, padded - (gsize) used);
    if (copy->target && !block_is_zero(copy->buffer, padded) && !block_write(copy, padded, copy->done)) {
        return holdfast_error_set_errno(error, errno, "cannot write %s at byte %" G_GINT64_FORMAT, copy->target,
                                        copy->done);
    }
    copy->done += used;
    return TRUE;
}

static gboolean copy_all(Copy *copy, GError **error)
{
    while (copy->done < copy->total) {
        if (g_cancellable_is_cancelled(copy->options->cancellable)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_CANCELLED, "copying %s was cancelled", copy->source);
            return FALSE;
        }
        gint64 data = lseek(copy->in, copy->done, SEEK_DATA);
        if (data < 0) {
            data = errno == ENXIO ? copy->total : copy->done; /* nothing but a hole left, or no holes known here */
        }
        if (data < copy->total) {
            data -= data % COPY_BLOCK_BYTES; /* reads stay aligned; the hole before it in this block reads as zeros */
        }
        if (data > copy->done) {
            skip_hole(copy, MIN(data, copy->total) - copy->done);
        } else if (!copy_block(copy, error)) {
            return FALSE;
        }
        if (copy->options->on_progress) {
            copy->options->on_progress(copy->done, copy->total, copy->options->user_data);
        }
    }
    if (copy->target && fsync(copy->out) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot flush %s", copy->target);
    }
    return TRUE;
}

static gboolean copy_start(Copy *copy, GError **error)
{
    copy->in = open_direct(copy->source, O_RDONLY);
    if (copy->in < 0) {
        return holdfast_error_set_errno(error, errno, "cannot open %s", copy->source);
    }
    if (copy->target && (copy->out = open_direct(copy->target, O_WRONLY)) < 0) {
        return holdfast_error_set_errno(error, errno, "cannot open %s for writing", copy->target);
    }
    copy->total = lseek(copy->in, 0, SEEK_END);
    if (copy->total < 0 || posix_memalign((void **) &copy->buffer, COPY_ALIGN, COPY_BLOCK_BYTES) != 0) {
        return holdfast_error_set_errno(error, errno, "cannot size %s", copy->source);
    }
    return TRUE;
}

gboolean copy_sparse(const char *source, const char *target, const CopyOptions *options, GError **error)
{
    Copy copy = {.in = -1, .out = -1, .source = source, .target = target, .options = options};
    gboolean ok = copy_start(&copy, error) && copy_all(&copy, error);
    free(copy.buffer);
    if (copy.in >= 0) {
        close(copy.in);
    }
    if (copy.out >= 0 && close(copy.out) != 0 && ok) {
        ok = holdfast_error_set_errno(error, errno, "cannot finish %s", target);
    }
    return ok;
}
