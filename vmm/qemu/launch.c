/* SPDX-License-Identifier: Apache-2.0
 * From a spec to a VMM that answers: run folder, disk nodes, unit, first QMP greeting. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"
#include "vmm/unit.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LAUNCH_TIMEOUT_MS 25000 /* a first start reads QEMU and its libraries from a disk that may be busy */
#define WARM_UP_TIMEOUT_MS 60000
#define LAUNCH_POLL_US (20 * 1000)
#define KILL_TIMEOUT_MS 5000
#define VHOST_NODE "/dev/vhost-net"

/* The entries of a run folder: two levels, nothing followed. */
void qemu_run_folder_remove(const char *run_folder)
{
    static const char *const entries[] = {
        "tls.d/ca-cert.pem",     "tls.d/client-cert.pem", "tls.d/client-key.pem",
        "tls.d/server-cert.pem", "tls.d/server-key.pem",  "tls.d/dh-params.pem",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(entries); i++) {
        g_autofree char *path = g_build_filename(run_folder, entries[i], NULL);
        unlink(path);
    }
    g_autoptr(GDir) folder = g_dir_open(run_folder, 0, NULL);
    const char *name;
    while (folder && (name = g_dir_read_name(folder))) {
        g_autofree char *path = g_build_filename(run_folder, name, NULL);
        remove(path);
    }
    rmdir(run_folder);
}

/* root:uid 1770: the VMM creates its sockets here, and cannot touch what root put beside them (credentials.c). */
gboolean qemu_run_folder_prepare(const VmmSpec *spec, GError **error)
{
    g_autofree char *tls_link = g_build_filename(spec->run_folder, "tls", NULL);
    g_autofree char *tls_copies = g_build_filename(spec->run_folder, "tls.d", NULL);
    g_autofree char *parent = g_path_get_dirname(spec->run_folder);
    gid_t gid = (gid_t) spec->uid;
    qemu_run_folder_remove(spec->run_folder);
    gboolean ok = g_mkdir_with_parents(parent, 0755) == 0 && mkdir(spec->run_folder, 0700) == 0 &&
                  chown(spec->run_folder, (uid_t) -1, gid) == 0 && chmod(spec->run_folder, 01770) == 0 &&
                  mkdir(tls_copies, 0700) == 0 && chown(tls_copies, (uid_t) -1, gid) == 0 &&
                  chmod(tls_copies, 0750) == 0 && (!spec->tls_folder || symlink(spec->tls_folder, tls_link) == 0);
    return ok || holdfast_error_set_errno(error, errno, "cannot prepare run folder %s", spec->run_folder);
}

/* The device node behind a gate's name belongs to the guest's uid from now on; udev keeps the owner when the table
 * changes. */
static gboolean disks_hand_over(const VmmSpec *spec, GError **error)
{
    for (int i = 0; spec->disk_paths && spec->disk_paths[i]; i++) {
        const char *path = spec->disk_paths[i];
        struct stat status;
        if (stat(path, &status) != 0) {
            return holdfast_error_set_errno(error, errno, "disk %s", path);
        }
        if (!S_ISBLK(status.st_mode)) {
            g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID, "disk_paths[%d]: %s is not a block device", i,
                        path);
            return FALSE;
        }
        if (chown(path, (uid_t) spec->uid, (gid_t) -1) != 0) {
            return holdfast_error_set_errno(error, errno, "cannot hand %s to uid %d", path, spec->uid);
        }
    }
    return TRUE;
}

/* The kernel's network back end, when the unit's group may open it; without it QEMU copies packets itself. */
static gboolean vhost_usable(const VmmSpec *spec)
{
    struct stat status;
    const struct group *kvm = getgrnam("kvm");
    return spec->kvm && spec->n_nics > 0 && kvm && stat(VHOST_NODE, &status) == 0 && status.st_gid == kvm->gr_gid &&
           (status.st_mode & 0060) == 0060;
}

/* Guest memory, its page tables and QEMU's own; emulation also keeps translated code. */
static gint64 memory_limit_mib(const VmmSpec *spec)
{
    return spec->memory_mib + spec->memory_mib / 16 + (spec->kvm ? 384 : 768);
}

static gboolean unit_launch(const ProcessRunner *runner, const VmmSpec *spec, gboolean incoming, GError **error)
{
    gboolean vhost = vhost_usable(spec);
    g_auto(GStrv) argv = qemu_argv(spec, incoming, vhost, error);
    if (!argv) {
        return FALSE;
    }
    g_autoptr(GPtrArray) devices = g_ptr_array_new();
    for (int i = 0; spec->disk_paths && spec->disk_paths[i]; i++) {
        g_ptr_array_add(devices, spec->disk_paths[i]);
    }
    if (spec->kvm) {
        g_ptr_array_add(devices, (gpointer) "/dev/kvm");
    }
    if (spec->n_nics > 0) {
        g_ptr_array_add(devices, (gpointer) "/dev/net/tun");
    }
    if (vhost) {
        g_ptr_array_add(devices, (gpointer) VHOST_NODE);
    }
    g_ptr_array_add(devices, NULL);
    const UnitLimits limits = {
        .uid = spec->uid,
        .memory_max_mib = memory_limit_mib(spec),
        .devices = (const char *const *) devices->pdata,
        .writable_folder = spec->run_folder,
    };
    return unit_start(runner, spec->name, (const char *const *) argv, &limits, error);
}

/* What the VMM said before it ended, for the error text. */
static char *journal_tail(const ProcessRunner *runner, const char *guest)
{
    g_autofree char *unit = unit_name(guest);
    char *text = NULL;
    if (!process_call(runner, 2000, &text, NULL, "/usr/bin/journalctl", "--unit", unit, "--lines=3", "--output=cat",
                      "--no-pager", NULL)) {
        return g_strdup("see its journal");
    }
    return g_strstrip(text);
}

static gboolean answer_await(const ProcessRunner *runner, const VmmSpec *spec, GError **error)
{
    gint64 deadline_us = g_get_monotonic_time() + (gint64) LAUNCH_TIMEOUT_MS * 1000;
    for (;;) {
        g_autoptr(GError) problem = NULL;
        int left_ms = (int) ((deadline_us - g_get_monotonic_time()) / 1000);
        g_autoptr(Qmp) qmp = left_ms > 0 ? qmp_open(spec->run_folder, left_ms, &problem) : NULL;
        if (qmp) {
            return TRUE;
        }
        if (left_ms <= 0 || !unit_is_alive(spec->name)) {
            g_autofree char *said = journal_tail(runner, spec->name);
            g_set_error(error, HOLDFAST_ERROR, left_ms <= 0 ? HOLDFAST_ERROR_TIMEOUT : HOLDFAST_ERROR_FAILED,
                        "QEMU of guest '%s' %s: %s", spec->name, left_ms <= 0 ? "does not answer" : "ended at once",
                        said);
            return FALSE;
        }
        g_usleep(LAUNCH_POLL_US);
    }
}

gboolean qemu_launch(const ProcessRunner *runner, const VmmSpec *spec, gboolean incoming, GError **error)
{
    if (incoming && !spec->migration_uri_listen) {
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                            "migration_uri_listen: needed to receive a guest");
        return FALSE;
    }
    if (unit_is_alive(spec->name)) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY, "a VMM of guest '%s' is already there: kill it first",
                    spec->name);
        return FALSE;
    }
    if (!qemu_run_folder_prepare(spec, error) || !disks_hand_over(spec, error)) {
        qemu_run_folder_remove(spec->run_folder);
        return FALSE;
    }
    if (unit_launch(runner, spec, incoming, error) && answer_await(runner, spec, error) &&
        (!incoming || qemu_incoming_prepare(spec, error))) {
        return TRUE;
    }
    unit_kill(runner, spec->name, KILL_TIMEOUT_MS, NULL);
    qemu_run_folder_remove(spec->run_folder);
    return FALSE;
}

gboolean qemu_warm_up(const ProcessRunner *runner, gboolean kvm, GError **error)
{
    g_auto(GStrv) argv = qemu_argv_warm_up(kvm);
    return process_run_ok(runner, (const char *const *) argv,
                          "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"quit\"}\n", WARM_UP_TIMEOUT_MS, NULL,
                          error);
}
