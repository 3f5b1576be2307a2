/* SPDX-License-Identifier: Apache-2.0
 * holdfast-disk-probe DEVICE INTERVAL_MS: writes and reads one block of DEVICE, again and again, and says "begin"
 * before and "end" (or "error ...") after each. When the disk hangs so does this process, in the kernel and beyond any
 * signal: that is what it is for, and why it is a process of its own. libc only. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES 4096

static void say(const char *text)
{
    printf("%s\n", text);
    fflush(stdout);
}

/* What was written is read back: a disk that drops writes silently is no disk that answers. The device stays open, for
 * closing it after a write has udev look at it each time; after an error it is opened anew. NULL: all is well. */
static const char *probe_once(const char *device, int *fd, unsigned char *block, unsigned char *back)
{
    if (*fd < 0) {
        *fd = open(device, O_RDWR | O_CLOEXEC | O_DIRECT | O_DSYNC);
    }
    if (*fd < 0) {
        return "open";
    }
    if (pwrite(*fd, block, BLOCK_BYTES, 0) != BLOCK_BYTES) {
        return "write";
    }
    if (pread(*fd, back, BLOCK_BYTES, 0) != BLOCK_BYTES) {
        return "read";
    }
    errno = EIO;
    return memcmp(block, back, BLOCK_BYTES) == 0 ? NULL : "compare";
}

int main(int argc, char **argv)
{
    long interval_ms = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    unsigned char *block = NULL, *back = NULL;
    int fd = -1;
    if (interval_ms <= 0) {
        fprintf(stderr, "usage: holdfast-disk-probe DEVICE INTERVAL_MS\nCalled by holdfastd, not by people.\n");
        return 2;
    }
    if (posix_memalign((void **) &block, BLOCK_BYTES, BLOCK_BYTES) != 0 ||
        posix_memalign((void **) &back, BLOCK_BYTES, BLOCK_BYTES) != 0) {
        return 1;
    }
    memset(block, 0, BLOCK_BYTES);
    for (unsigned long round = 1;; round++) {
        memcpy(block, &round, sizeof(round));
        say("begin");
        const char *failed = probe_once(argv[1], &fd, block, back);
        if (failed) {
            printf("error %s: %s\n", failed, strerror(errno));
            fflush(stdout);
            close(fd);
            fd = -1;
        } else {
            say("end");
        }
        nanosleep(&(struct timespec){.tv_sec = interval_ms / 1000, .tv_nsec = interval_ms % 1000 * 1000000}, NULL);
    }
}
