/* SPDX-License-Identifier: Apache-2.0
 * The gate, through dmsetup.
 *
 * A table is swapped by `load` then `resume`: DM_DEV_SUSPEND without the suspend flag suspends, waits for I/O in
 * flight, swaps and resumes inside one ioctl (dm-ioctl.c do_resume). So no kill between two commands leaves the guest's
 * disk suspended, which an explicit `suspend` first would. When I/O is frozen below, the wait ends with our deadline's
 * SIGKILL: the kernel then drops the new table, keeps the old one live and requeues what waited; a later try starts
 * from there.
 *
 * udev is kept out by three options on every command: --noudevrules (udev makes no link), --verifyudev (so libdevmapper
 * makes /dev/mapper/<name> itself, a real block node, before the command returns) and --noudevsync (no command in a
 * fail-over waits for a busy udevd). Tried on Debian 12: without --verifyudev the first of them leaves no node at all,
 * and with it alone udev decides when there is one. */
#include "storage/gate.h"

#include "common/error.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DMSETUP "/sbin/dmsetup"
#define NO_UDEV "--noudevsync", "--noudevrules", "--verifyudev"
#define LOOK_TIMEOUT_MS 5000
#define SWAP_TIMEOUT_MS 5000
#define REMOVE_TIMEOUT_MS 8000

typedef struct {
    GateState state;
    char *table; /* live table without line end; "" when the device has none (killed inside `create`) */
    gboolean suspended;
    int open_count;
} GateLook;

static void gate_look_clear(GateLook *look)
{
    g_clear_pointer(&look->table, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GateLook, gate_look_clear)

char *gate_path(const char *name)
{
    return g_strconcat("/dev/mapper/", name, NULL);
}

const char *gate_state_name(GateState state)
{
    static const char *const names[] = {[GATE_ABSENT] = "absent", [GATE_CLOSED] = "closed", [GATE_OPEN] = "open"};
    return state >= GATE_ABSENT && state <= GATE_OPEN ? names[state] : "absent";
}

/* Run one looking command. TRUE with *ret_text NULL: the device does not exist. */
static gboolean look_run(const ProcessRunner *runner, const char *const *argv, const char *name, char **ret_text,
                         GError **error)
{
    g_auto(ProcessResult) result = {0};
    *ret_text = NULL;
    if (!runner->run(runner, argv, NULL, LOOK_TIMEOUT_MS, &result, error)) {
        return FALSE;
    }
    if (result.exit_status == 0) {
        *ret_text = g_strchomp(g_strdup(result.stdout_text));
        return TRUE;
    }
    if (strstr(result.stderr_text, "does not exist") || strstr(result.stderr_text, "not found") ||
        strstr(result.stdout_text, "does not exist")) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_FAILED, "cannot look at gate %s: dmsetup: %s", name,
                g_strchomp(result.stderr_text));
    return FALSE;
}

static gboolean gate_look(const ProcessRunner *runner, const char *name, GateLook *ret, GError **error)
{
    const char *info_argv[] = {DMSETUP,          "info", "-c", "--noheadings", "--separator", ":", "-o",
                               "open,suspended", name,   NULL};
    const char *table_argv[] = {DMSETUP, "table", name, NULL};
    g_autofree char *info = NULL;
    if (!look_run(runner, info_argv, name, &info, error)) {
        return FALSE;
    }
    *ret = (GateLook){.state = GATE_ABSENT};
    if (!info) {
        return TRUE;
    }
    if (!look_run(runner, table_argv, name, &ret->table, error)) {
        return FALSE;
    }
    if (!ret->table) {
        return TRUE;
    }
    ret->open_count = atoi(info);
    const char *suspended = strchr(info, ':');
    ret->suspended = suspended && g_str_has_prefix(suspended + 1, "Suspended");
    g_auto(GStrv) words = g_strsplit(ret->table, " ", -1);
    gboolean closed = ret->table[0] == '\0' || (g_strv_length(words) >= 3 && strcmp(words[2], "error") == 0);
    ret->state = closed ? GATE_CLOSED : GATE_OPEN; /* anything that is not surely closed counts as open */
    return TRUE;
}

static gboolean size_check(const char *name, gint64 size_bytes, GError **error)
{
    if (size_bytes > 0 && size_bytes % 512 == 0) {
        return TRUE;
    }
    g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_INVALID,
                "size_bytes: %" G_GINT64_FORMAT " is no whole number of sectors (gate %s)", size_bytes, name);
    return FALSE;
}

static gboolean swap_failed(const char *name, GError *problem, GError **error)
{
    if (holdfast_error_code(problem) == HOLDFAST_ERROR_TIMEOUT) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_TIMEOUT,
                    "gate %s: I/O in flight did not end within %d ms: the disk below is frozen or hangs", name,
                    SWAP_TIMEOUT_MS);
        g_error_free(problem);
    } else {
        g_propagate_prefixed_error(error, problem, "gate %s: ", name);
    }
    return FALSE;
}

/* Make `table` the live one, waiting for I/O in flight. */
static gboolean gate_swap(const ProcessRunner *runner, const char *name, const char *table, GError **error)
{
    GError *problem = NULL;
    if (!process_call(runner, SWAP_TIMEOUT_MS, NULL, &problem, DMSETUP, "load", name, "--table", table, NULL)) {
        return swap_failed(name, problem, error);
    }
    if (!process_call(runner, SWAP_TIMEOUT_MS, NULL, &problem, DMSETUP, "resume", NO_UDEV, "--nolockfs", name, NULL)) {
        /* Killed before its ioctl it may have left the new table waiting: nobody else's resume shall bring it to life.
         */
        process_call(runner, LOOK_TIMEOUT_MS, NULL, NULL, DMSETUP, "clear", NO_UDEV, name, NULL);
        return swap_failed(name, problem, error);
    }
    return TRUE;
}

static char *table_closed(gint64 size_bytes)
{
    return g_strdup_printf("0 %" G_GINT64_FORMAT " error", size_bytes / 512);
}

/* dmsetup takes either form; it shows only the second, with DRBD's registered major number. */
static char *table_open(int minor, gint64 size_bytes)
{
    return g_strdup_printf("0 %" G_GINT64_FORMAT " linear 147:%d 0", size_bytes / 512, minor);
}

/* The live table says what is wanted: `error` tables come back as "0 N error " or "0 N error". */
static gboolean look_is(const GateLook *look, const char *table)
{
    g_autofree char *live = g_strchomp(g_strdup(look->table ? look->table : ""));
    return !look->suspended && strcmp(live, table) == 0;
}

/* The live table, for another size. */
static char *table_resized(const char *table, gint64 size_bytes)
{
    g_auto(GStrv) words = g_strsplit(table, " ", 3);
    return g_strdup_printf("0 %" G_GINT64_FORMAT " %s", size_bytes / 512, g_strchomp(words[2]));
}

/* The device may lack its node when an earlier `create` was killed between the kernel's work and its own. */
static gboolean node_ensure(const ProcessRunner *runner, const char *name, GError **error)
{
    struct stat st;
    g_autofree char *path = gate_path(name);
    return (stat(path, &st) == 0 && S_ISBLK(st.st_mode)) ||
           process_call(runner, LOOK_TIMEOUT_MS, NULL, error, DMSETUP, "mknodes", NO_UDEV, name, NULL);
}

gboolean gate_ensure(const ProcessRunner *runner, const char *name, gint64 size_bytes, GError **error)
{
    g_auto(GateLook) look = {0};
    if (!size_check(name, size_bytes, error) || !gate_look(runner, name, &look, error)) {
        return FALSE;
    }
    g_autofree char *closed = table_closed(size_bytes);
    if (look.state == GATE_ABSENT) {
        return process_call(runner, SWAP_TIMEOUT_MS, NULL, error, DMSETUP, "create", NO_UDEV, name, "--table", closed,
                            NULL);
    }
    g_autofree char *wanted =
        look.state == GATE_OPEN ? table_resized(look.table, size_bytes) : g_steal_pointer(&closed);
    return node_ensure(runner, name, error) && (look_is(&look, wanted) || gate_swap(runner, name, wanted, error));
}

gboolean gate_open(const ProcessRunner *runner, const char *name, int minor, gint64 size_bytes, GError **error)
{
    g_auto(GateLook) look = {0};
    if (!size_check(name, size_bytes, error) || !gate_look(runner, name, &look, error)) {
        return FALSE;
    }
    g_autofree char *wanted = table_open(minor, size_bytes);
    if (look.state == GATE_ABSENT) {
        return process_call(runner, SWAP_TIMEOUT_MS, NULL, error, DMSETUP, "create", NO_UDEV, name, "--table", wanted,
                            NULL);
    }
    return look_is(&look, wanted) || gate_swap(runner, name, wanted, error);
}

gboolean gate_close(const ProcessRunner *runner, const char *name, gint64 size_bytes, GError **error)
{
    g_auto(GateLook) look = {0};
    if (!size_check(name, size_bytes, error) || !gate_look(runner, name, &look, error)) {
        return FALSE;
    }
    if (look.state == GATE_ABSENT || (look.state == GATE_CLOSED && !look.suspended && look.table[0] != '\0')) {
        return TRUE;
    }
    g_autofree char *wanted = table_closed(size_bytes);
    return gate_swap(runner, name, wanted, error);
}

gboolean gate_remove(const ProcessRunner *runner, const char *name, GError **error)
{
    g_auto(GateLook) look = {0};
    if (!gate_look(runner, name, &look, error)) {
        return FALSE;
    }
    if (look.state == GATE_ABSENT) {
        return TRUE;
    }
    if (look.open_count > 0) {
        g_set_error(error, HOLDFAST_ERROR, HOLDFAST_ERROR_BUSY,
                    "gate %s is opened by %d processes: stop the guest first", name, look.open_count);
        return FALSE;
    }
    /* --retry: a host scan may hold it open for a moment. */
    return process_call(runner, REMOVE_TIMEOUT_MS, NULL, error, DMSETUP, "remove", "--retry", NO_UDEV, name, NULL);
}

gboolean gate_state(const ProcessRunner *runner, const char *name, GateState *ret, int *ret_open_count, GError **error)
{
    g_auto(GateLook) look = {0};
    if (!gate_look(runner, name, &look, error)) {
        return FALSE;
    }
    *ret = look.state;
    if (ret_open_count) {
        *ret_open_count = look.open_count;
    }
    return TRUE;
}
