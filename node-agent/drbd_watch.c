/* SPDX-License-Identifier: Apache-2.0
 * The child that tells what happens to DRBD. Whatever is wrong with it (it ends, it skips events, it says what nobody
 * understands) has one remedy: start it again and compare its full dump with what was known. */
#include "node-agent/drbd_watch.h"

#include "common/log.h"
#include "storage/drbd_events.h"
#include "storage/drbd_internal.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_MIN_MS 200
#define BACKOFF_MAX_MS 30000
/* A child that lived this long was well: the next back-off begins anew. */
#define WELL_AFTER_US (10 * G_USEC_PER_SEC)
#define LINE_MAX_BYTES 4096
#define RESOURCE_PREFIX "hf-" /* drbd_resource_name() */

struct DrbdWatch {
    const char *const *argv;
    DrbdWatchChanged changed;
    gpointer user_data;
    DrbdEvents *events;
    GPid pid;                                   /* 0: none */
    int fd;                                     /* its standard output; -1: closed */
    guint fd_source, exit_source, again_source; /* 0: none */
    GString *partial;                           /* the line being received */
    gint64 started_us;
    guint backoff_ms;
};

static gboolean watch_spawn(gpointer user_data);

static void kick(const DrbdWatch *watch, const char *resource)
{
    if (g_str_has_prefix(resource, RESOURCE_PREFIX)) {
        watch->changed(resource + strlen(RESOURCE_PREFIX), watch->user_data);
    }
}

static void kick_vanished(const DrbdWatch *watch)
{
    g_autoptr(GPtrArray) vanished = drbd_events_sweep(watch->events);
    for (guint i = 0; i < vanished->len; i++) {
        kick(watch, vanished->pdata[i]);
    }
}

/* FALSE: only a new dump helps. */
static gboolean on_line(DrbdWatch *watch, const char *line)
{
    g_autofree char *resource = NULL;
    g_autoptr(GError) error = NULL;
    DrbdEventKind kind;
    if (!drbd_events_line(watch->events, line, &kind, &resource, &error)) {
        log_line(LOG_LEVEL_WARNING, "DRBD events: %s", error->message);
        return FALSE;
    }
    switch (kind) {
    case DRBD_EVENT_CHANGED:
        kick(watch, resource);
        break;
    case DRBD_EVENT_DUMP_END:
        kick_vanished(watch);
        break;
    case DRBD_EVENT_LOST:
        log_line(LOG_LEVEL_WARNING, "DRBD events: some were lost; everything is looked at again");
        return FALSE;
    case DRBD_EVENT_NOTHING:
        break;
    }
    return TRUE;
}

static gboolean on_bytes(DrbdWatch *watch, const char *bytes, gsize length)
{
    for (gsize i = 0; i < length; i++) {
        if (bytes[i] != '\n') {
            g_string_append_c(watch->partial, bytes[i]);
        } else if (!on_line(watch, watch->partial->str)) {
            return FALSE;
        } else {
            g_string_truncate(watch->partial, 0);
        }
    }
    return watch->partial->len <= LINE_MAX_BYTES;
}

/* Stop listening and have the child end; on_exit() starts the next one. */
static void watch_close(DrbdWatch *watch)
{
    if (watch->fd >= 0) {
        g_source_remove(watch->fd_source);
        close(watch->fd);
        watch->fd = -1;
        if (watch->pid) {
            kill(watch->pid, SIGKILL);
        }
    }
}

static gboolean on_readable(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer user_data)
{
    DrbdWatch *watch = user_data;
    char buffer[16384];
    ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return G_SOURCE_CONTINUE;
    }
    if (got <= 0 || !on_bytes(watch, buffer, (gsize) got)) {
        watch_close(watch); /* removes this very source */
    }
    return G_SOURCE_CONTINUE;
}

static void watch_again(DrbdWatch *watch)
{
    gboolean was_well = watch->started_us && g_get_monotonic_time() - watch->started_us > WELL_AFTER_US;
    watch->backoff_ms = was_well ? BACKOFF_MIN_MS : MIN(watch->backoff_ms * 2, BACKOFF_MAX_MS);
    watch->again_source = g_timeout_add(watch->backoff_ms, watch_spawn, watch);
}

static void on_exit_of_child(GPid pid, int status, gpointer user_data)
{
    DrbdWatch *watch = user_data;
    g_spawn_close_pid(pid);
    watch->exit_source = 0;
    watch->pid = 0; /* reaped: the number may be somebody else's now */
    watch_close(watch);
    watch_again(watch);
    log_line(LOG_LEVEL_NOTICE, "DRBD events: drbdsetup ended (%s %d); again in %u ms",
             WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
             watch->backoff_ms);
}

/* In the child, before exec. Our unit ends us alone (KillMode=process), and a guest's disk must not keep a forgotten
 * listener. The signal comes when the thread that made the child ends: that is the main thread. */
static void child_set_up(gpointer user_data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static gboolean watch_spawn(gpointer user_data)
{
    DrbdWatch *watch = user_data;
    g_autoptr(GError) error = NULL;
    watch->again_source = 0;
    watch->started_us = g_get_monotonic_time();
    if (!g_spawn_async_with_pipes("/", (char **) watch->argv, NULL,
                                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, child_set_up, NULL,
                                  &watch->pid, NULL, &watch->fd, NULL, &error)) {
        watch->fd = -1;
        watch_again(watch);
        log_line(LOG_LEVEL_WARNING, "DRBD events: %s; again in %u ms", error->message, watch->backoff_ms);
        return G_SOURCE_REMOVE;
    }
    g_unix_set_fd_nonblocking(watch->fd, TRUE, NULL);
    g_string_truncate(watch->partial, 0);
    drbd_events_begin(watch->events);
    watch->fd_source = g_unix_fd_add(watch->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, watch);
    watch->exit_source = g_child_watch_add(watch->pid, on_exit_of_child, watch);
    return G_SOURCE_REMOVE;
}

DrbdWatch *drbd_watch_start(const char *const *argv, DrbdWatchChanged changed, gpointer user_data)
{
    static const char *const real[] = {DRBDSETUP, "events2", "all", "--timestamps", "--statistics", NULL};
    DrbdWatch *watch = g_new0(DrbdWatch, 1);
    *watch = (DrbdWatch){.argv = argv ? argv : real,
                         .changed = changed,
                         .user_data = user_data,
                         .events = drbd_events_new(),
                         .fd = -1,
                         .partial = g_string_new(NULL),
                         .backoff_ms = BACKOFF_MIN_MS};
    watch_spawn(watch);
    return watch;
}

void drbd_watch_stop(DrbdWatch *watch)
{
    watch_close(watch);
    if (watch->exit_source) {
        g_source_remove(watch->exit_source);
        waitpid(watch->pid, NULL, 0); /* killed a moment ago */
    }
    if (watch->again_source) {
        g_source_remove(watch->again_source);
    }
    drbd_events_free(watch->events);
    g_string_free(watch->partial, TRUE);
    g_free(watch);
}
