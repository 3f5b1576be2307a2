/* SPDX-License-Identifier: Apache-2.0
 * The campaign's eye in a node: what the kernel says, below every daemon of ours, a line at each change.
 *
 *   observer GUEST GATE        (GATE: device-mapper name of the guest's first gate)
 *   -> {"t": s since boot, "boot": id, "vmm": pid or 0, "gate": "linear"|"error"|"none", "drbd": [{"minor", "cs", "ro",
 * "ds", "frozen"}]}
 *
 * It asks every 100 ms and writes when something changed, and every 2 s anyway, so that the reader can tell silence
 * from sameness. It starts no program and takes no lock, so it goes on while I/O is frozen. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/dm-ioctl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_MS 100
#define SILENCE_S 2.0

/* Whole small file as text, "" when it cannot be read. */
static void text_of(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got;
    while (fd >= 0 && used + 1 < size && (got = read(fd, out + used, size - 1 - used)) > 0) {
        used += (size_t) got;
    }
    out[used] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

/* First process of the guest's unit, 0 when there is none. */
static long vmm_pid(const char *guest)
{
    char pattern[256], text[4096];
    long pid = 0;
    glob_t found;
    snprintf(pattern, sizeof pattern, "/sys/fs/cgroup/{,*.slice/}{,*.slice/}holdfast-guest@%s.service/cgroup.procs",
             guest);
    if (glob(pattern, GLOB_BRACE, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && pid == 0; i++) {
            text_of(found.gl_pathv[i], text, sizeof text);
            pid = atol(text);
        }
        globfree(&found);
    }
    return pid;
}

/* Target type of the device's live table. */
static const char *gate_state(const char *name)
{
    static char type[DM_MAX_TYPE_NAME + 1];
    struct {
        struct dm_ioctl head;
        char data[1024];
    } request = {.head = {.version = {4, 0, 0}, .data_size = sizeof request, .data_start = sizeof(struct dm_ioctl)}};
    int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return "none";
    }
    snprintf(request.head.name, sizeof request.head.name, "%s", name);
    int result = ioctl(fd, DM_TABLE_STATUS, &request);
    close(fd);
    if (result != 0 || request.head.target_count == 0) {
        return "none";
    }
    const struct dm_target_spec *spec = (const void *) ((const char *) &request + request.head.data_start);
    snprintf(type, sizeof type, "%s", spec->target_type);
    return type;
}

/* The volumes in /proc/drbd: " 16: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----". The first flag is
 * 's' while I/O is frozen. */
static void drbd_text(char *out, size_t size)
{
    char text[16384], *rest = text, *line;
    size_t used = 0;
    text_of("/proc/drbd", text, sizeof text);
    out[0] = '\0';
    while ((line = strsep(&rest, "\n")) && used + 200 < size) {
        int minor;
        char cs[40], ro[60], ds[60];
        if (sscanf(line, " %d: cs:%39s ro:%59s ds:%59s", &minor, cs, ro, ds) == 4) {
            const char *flags = strrchr(line, ' ');
            used +=
                (size_t) snprintf(out + used, size - used,
                                  "%s{\"minor\": %d, \"cs\": \"%s\", \"ro\": \"%s\", \"ds\": \"%s\", \"frozen\": %s}",
                                  used ? ", " : "", minor, cs, ro, ds, flags && flags[1] == 's' ? "true" : "false");
        }
    }
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    char boot[64], state[8192], last[8192] = "", drbd[8000];
    double told = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: observer GUEST GATE\n");
        return 2;
    }
    text_of("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
    boot[strcspn(boot, "\n")] = '\0';
    for (;;) {
        drbd_text(drbd, sizeof drbd);
        snprintf(state, sizeof state, "\"vmm\": %ld, \"gate\": \"%s\", \"drbd\": [%.7800s]", vmm_pid(argv[1]),
                 gate_state(argv[2]), drbd);
        double now = now_s();
        if (strcmp(state, last) != 0 || now - told >= SILENCE_S) {
            char line[9000];
            int length = snprintf(line, sizeof line, "{\"t\": %.3f, \"boot\": \"%s\", %s}\n", now, boot, state);
            if (write(STDOUT_FILENO, line, (size_t) length) != length) {
                return 1; /* the reader is gone */
            }
            strcpy(last, state);
            told = now;
        }
        usleep(PERIOD_MS * 1000);
    }
}
