/* SPDX-License-Identifier: Apache-2.0
 * Guest units. systemd is asked only to start one; whether it lives and how it dies goes straight through its cgroup,
 * because a stop that waits for a busy PID 1 would become a fenced node. */
#include "vmm/unit.h"

#include "common/error.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define UNIT_CGROUP_ROOT "/sys/fs/cgroup"
#define UNIT_SLICE "holdfast-guests.slice"
#define UNIT_SLICE_FOLDER "holdfast.slice/holdfast-guests.slice"
#define START_TIMEOUT_MS 10000
#define CLEAR_TIMEOUT_MS 3000
#define KILL_POLL_MS 50
#define CGROUP_FILE_MAX_BYTES 65536

char *unit_name(const char *guest)
{
    return g_strdup_printf("holdfast-guest@%s.service", guest);
}

/* Before=pacemaker: at shutdown Pacemaker ends first, and it stops or moves the guests itself. */
static const char *const fixed_properties[] = {
    "Type=exec",
    "Restart=no",
    "Slice=" UNIT_SLICE,
    "Before=pacemaker.service",
    "KillMode=control-group",
    "TimeoutStopSec=10s",
    "OOMPolicy=kill",
    "CPUWeight=100",
    "TasksMax=512",
    "LimitCORE=0",
    "LimitNOFILE=65536",
    "UMask=0077",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_SETPCAP", /* for setpriv, which drops them */
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    "RestrictNamespaces=yes",
    "DevicePolicy=closed",
    NULL,
};

static void add_property(GPtrArray *argv, char *property)
{
    g_ptr_array_add(argv, g_strdup("--property"));
    g_ptr_array_add(argv, property);
}

static void add_limits(GPtrArray *argv, const UnitLimits *limits)
{
    if (limits->memory_max_mib > 0) {
        add_property(argv, g_strdup_printf("MemoryMax=%" G_GINT64_FORMAT "M", limits->memory_max_mib));
        add_property(argv, g_strdup("MemorySwapMax=0"));
    }
    if (limits->writable_folder) {
        add_property(argv, g_strdup_printf("ReadWritePaths=%s", limits->writable_folder));
    }
    for (int i = 0; limits->devices && limits->devices[i]; i++) {
        add_property(argv, g_strdup_printf("DeviceAllow=%s rw", limits->devices[i]));
    }
}

/* setpriv and not User=: the uid has no passwd entry and the group set is exact. */
static void add_setpriv(GPtrArray *argv, int uid)
{
    const struct group *kvm = getgrnam("kvm");
    g_ptr_array_add(argv, g_strdup("/usr/bin/setpriv"));
    g_ptr_array_add(argv, g_strdup_printf("--reuid=%d", uid));
    g_ptr_array_add(argv, g_strdup_printf("--regid=%d", uid));
    g_ptr_array_add(argv, kvm ? g_strdup_printf("--groups=%d", (int) kvm->gr_gid) : g_strdup("--clear-groups"));
    g_ptr_array_add(argv, g_strdup("--inh-caps=-all"));
    g_ptr_array_add(argv, g_strdup("--bounding-set=-all"));
    g_ptr_array_add(argv, g_strdup("--no-new-privs"));
    g_ptr_array_add(argv, g_strdup("--"));
}

/* systemd may not have collected the unit's former life yet: clear that and try again. Its processes are gone (the
 * caller looked), so the stop ends at once. After a time-out the start may still be in systemd's queue, so a stop is
 * queued behind it. */
static gboolean line_run(const char *const *line, const ProcessRunner *runner, const char *unit, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (process_run_ok(runner, line, NULL, START_TIMEOUT_MS, NULL, &problem)) {
        return TRUE;
    }
    if (g_error_matches(problem, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT)) {
        process_call(runner, CLEAR_TIMEOUT_MS, NULL, NULL, "/usr/bin/systemctl", "stop", "--no-block", unit, NULL);
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    process_call(runner, CLEAR_TIMEOUT_MS, NULL, NULL, "/usr/bin/systemctl", "stop", unit, NULL);
    process_call(runner, CLEAR_TIMEOUT_MS, NULL, NULL, "/usr/bin/systemctl", "reset-failed", unit, NULL);
    return process_run_ok(runner, line, NULL, START_TIMEOUT_MS, NULL, error);
}

gboolean unit_start(const ProcessRunner *runner, const char *guest, const char *const *argv, const UnitLimits *limits,
                    GError **error)
{
    g_autoptr(GPtrArray) command = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *unit = unit_name(guest);
    g_ptr_array_add(command, g_strdup("/usr/bin/systemd-run"));
    g_ptr_array_add(command, g_strdup_printf("--unit=%s", unit));
    g_ptr_array_add(command, g_strdup_printf("--description=Holdfast guest %s", guest));
    g_ptr_array_add(command, g_strdup("--collect"));
    g_ptr_array_add(command, g_strdup("--quiet"));
    for (int i = 0; fixed_properties[i]; i++) {
        add_property(command, g_strdup(fixed_properties[i]));
    }
    add_limits(command, limits);
    g_ptr_array_add(command, g_strdup("--"));
    add_setpriv(command, limits->uid);
    for (int i = 0; argv[i]; i++) {
        g_ptr_array_add(command, g_strdup(argv[i]));
    }
    g_ptr_array_add(command, NULL);
    return line_run((const char *const *) command->pdata, runner, unit, error);
}

static char *cgroup_file(const char *cgroup_root, const char *guest, const char *name)
{
    g_autofree char *unit = unit_name(guest);
    return g_build_filename(cgroup_root, UNIT_SLICE_FOLDER, unit, name, NULL);
}

/* What a cgroup file holds; NULL with errno. Not file_read(): the cgroup may vanish between open and read, which is
 * ENODEV and no failure. */
static char *cgroup_read(int fd)
{
    char *text = g_malloc(CGROUP_FILE_MAX_BYTES + 1);
    ssize_t got = pread(fd, text, CGROUP_FILE_MAX_BYTES, 0);
    if (got < 0) {
        int err = errno;
        g_free(text);
        errno = err;
        return NULL;
    }
    text[got] = '\0';
    return text;
}

static gboolean cgroup_gone(int err)
{
    return err == ENOENT || err == ENODEV || err == ENOTDIR;
}

/* In doubt alive: a wrong "dead" could start a second copy. */
gboolean unit_cgroup_is_alive(const char *cgroup_root, const char *guest)
{
    g_autofree char *path = cgroup_file(cgroup_root, guest, "cgroup.procs");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return !cgroup_gone(errno);
    }
    g_autofree char *text = cgroup_read(fd);
    gboolean alive = text ? *text != '\0' : !cgroup_gone(errno);
    close(fd);
    return alive;
}

/* Wait for a change of cgroup.events (POLLPRI), looking again now and then. */
static gboolean cgroup_await_empty(int events, int timeout_ms)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) timeout_ms * 1000;
    for (;;) {
        g_autofree char *text = cgroup_read(events);
        if (!text || strstr(text, "populated 0")) {
            return text != NULL || cgroup_gone(errno);
        }
        if (g_get_monotonic_time() >= deadline_us) {
            return FALSE;
        }
        struct pollfd item = {.fd = events, .events = POLLPRI};
        (void) poll(&item, 1, KILL_POLL_MS);
    }
}

static gboolean kill_write(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    gboolean ok = fd >= 0 && write(fd, "1", 1) == 1;
    int err = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = err;
    return ok;
}

gboolean unit_cgroup_kill(const char *cgroup_root, const char *guest, int timeout_ms, GError **error)
{
    g_autofree char *events_path = cgroup_file(cgroup_root, guest, "cgroup.events");
    g_autofree char *kill_path = cgroup_file(cgroup_root, guest, "cgroup.kill");
    int events = open(events_path, O_RDONLY | O_CLOEXEC);
    if (events < 0) {
        return cgroup_gone(errno) || holdfast_error_set_errno(error, errno, "cannot open %s", events_path);
    }
    gboolean ok = kill_write(kill_path);
    if (!ok && !cgroup_gone(errno)) {
        holdfast_error_set_errno(error, errno, "cannot kill the VMM of guest '%s' through %s", guest, kill_path);
        close(events);
        return FALSE;
    }
    ok = cgroup_await_empty(events, timeout_ms);
    close(events);
    if (!ok) {
        g_set_error(
            error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
            "the VMM of guest '%s' is still there %d ms after SIGKILL: it is stuck in the kernel, probably on its disk",
            guest, timeout_ms);
    }
    return ok;
}

gboolean unit_is_alive(const char *guest)
{
    return unit_cgroup_is_alive(UNIT_CGROUP_ROOT, guest);
}

gboolean unit_kill(const ProcessRunner *runner G_GNUC_UNUSED, const char *guest, int timeout_ms, GError **error)
{
    return unit_cgroup_kill(UNIT_CGROUP_ROOT, guest, timeout_ms, error);
}
