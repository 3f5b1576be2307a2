/* SPDX-License-Identifier: Apache-2.0
 * The engine "qemu": stock QEMU, one process per guest, steered over QMP. */
#include "vmm/qemu/qemu.h"

#include "common/error.h"
#include "vmm/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUERY_TIMEOUT_MS 1000
#define COMMAND_TIMEOUT_MS 5000
#define KILL_TIMEOUT_MS 5000
#define SERIAL_LOG_MAX_BYTES (4 * 1024 * 1024)

/* /run is memory and the guest decides how much it prints. The folder is writable by the VMM's uid: follow no link. */
static void serial_log_trim(const char *run_folder)
{
    g_autofree char *path = g_build_filename(run_folder, "serial.log", NULL);
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (fd < 0) {
        return;
    }
    gboolean long_one = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1 &&
                        status.st_size > SERIAL_LOG_MAX_BYTES;
    (void) !(long_one && ftruncate(fd, 0) == 0); /* tried again at the next query */
    close(fd);
}

static VmmState engine_query(const char *run_folder, const char *guest)
{
    if (!unit_is_alive(guest)) {
        return VMM_STOPPED;
    }
    serial_log_trim(run_folder);
    g_autoptr(Qmp) qmp = qmp_open(run_folder, QUERY_TIMEOUT_MS, NULL);
    g_autofree char *word = qmp ? qemu_run_state(qmp, NULL) : NULL;
    if (word) {
        return qemu_state_from(word);
    }
    return unit_is_alive(guest) ? VMM_BROKEN : VMM_STOPPED;
}

static gboolean engine_command(const char *run_folder, const char *command, GError **error)
{
    g_autoptr(Qmp) qmp = qmp_open(run_folder, COMMAND_TIMEOUT_MS, error);
    return qmp && qmp_run(qmp, command, NULL, error);
}

static gboolean engine_pause(const char *run_folder, GError **error)
{
    return engine_command(run_folder, "stop", error);
}

static gboolean engine_powerdown(const char *run_folder, GError **error)
{
    return engine_command(run_folder, "system_powerdown", error);
}

/* RARP on every NIC, several rounds, so that switches learn the new port even when the first frames are lost. */
static void announce(Qmp *qmp)
{
    qmp_run(qmp, "announce-self",
            json_pack("{s:i, s:i, s:i, s:i}", "initial", 50, "max", 550, "rounds", 5, "step", 100), NULL);
}

static gboolean engine_resume(const char *run_folder, GError **error)
{
    g_autoptr(Qmp) qmp = qmp_open(run_folder, COMMAND_TIMEOUT_MS, error);
    g_autofree char *word = qmp ? qemu_run_state(qmp, error) : NULL;
    if (!word) {
        return FALSE;
    }
    if (qemu_state_from(word) == VMM_INCOMING) {
        /* QEMU would take `cont` as leave to start by itself once everything is loaded: two running copies. */
        g_set_error_literal(error, HOLDFAST_ERROR, HOLDFAST_ERROR_REFUSED,
                            "the guest is still being received: resume it when incoming_ready says so");
        return FALSE;
    }
    if (!qmp_run(qmp, "cont", NULL, error)) {
        return FALSE;
    }
    announce(qmp);
    qemu_migration_tidy(qmp);
    return TRUE;
}

static gboolean engine_kill(const ProcessRunner *runner, const char *guest, GError **error)
{
    return unit_kill(runner, guest, KILL_TIMEOUT_MS, error);
}

const VmmEngine qemu_engine = {
    .name = "qemu",
    .launch = qemu_launch,
    .query = engine_query,
    .pause = engine_pause,
    .resume = engine_resume,
    .powerdown = engine_powerdown,
    .kill = engine_kill,
    .disk_size = qemu_disk_size,
    .disk_resize = qemu_disk_resize,
    .migrate_begin = qemu_migrate_begin,
    .migrate_query = qemu_migrate_query,
    .migrate_hold = qemu_migrate_hold,
    .migrate_switchover = qemu_migrate_switchover,
    .migrate_finish = qemu_migrate_finish,
    .migrate_cancel = qemu_migrate_cancel,
    .incoming_ready = qemu_incoming_ready,
    .warm_up = qemu_warm_up,
};
