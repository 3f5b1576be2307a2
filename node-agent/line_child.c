/* SPDX-License-Identifier: Apache-2.0
 * A child that tells things, one a line. */
#include "node-agent/line_child.h"

#include "common/log.h"

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

struct LineChild {
    const char *const *argv;
    const LineChildEvents *events;
    gpointer data;
    GPid pid;                                   /* 0: none */
    int fd;                                     /* its standard output; -1: closed */
    guint fd_source, exit_source, again_source; /* 0: none */
    GString *partial;                           /* the line being received */
    gint64 started_us;
    guint backoff_ms;
};

static gboolean child_spawn(gpointer user_data);

static gboolean on_bytes(LineChild *child, const char *bytes, gsize length)
{
    for (gsize i = 0; i < length; i++) {
        if (bytes[i] != '\n') {
            g_string_append_c(child->partial, bytes[i]);
        } else if (!child->events->line(child->partial->str, child->data)) {
            return FALSE;
        } else {
            g_string_truncate(child->partial, 0);
        }
    }
    return child->partial->len <= LINE_MAX_BYTES;
}

/* Stop listening and have the child end; on_exit() starts the next one. */
static void child_close(LineChild *child)
{
    if (child->fd >= 0) {
        g_source_remove(child->fd_source);
        close(child->fd);
        child->fd = -1;
        if (child->pid) {
            kill(child->pid, SIGKILL);
        }
    }
}

static gboolean on_readable(int fd, GIOCondition condition G_GNUC_UNUSED, gpointer user_data)
{
    LineChild *child = user_data;
    char buffer[16384];
    ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return G_SOURCE_CONTINUE;
    }
    if (got <= 0 || !on_bytes(child, buffer, (gsize) got)) {
        child_close(child); /* removes this very source */
    }
    return G_SOURCE_CONTINUE;
}

static void child_again(LineChild *child)
{
    gboolean was_well = child->started_us && g_get_monotonic_time() - child->started_us > WELL_AFTER_US;
    child->backoff_ms = was_well ? BACKOFF_MIN_MS : MIN(child->backoff_ms * 2, BACKOFF_MAX_MS);
    child->again_source = g_timeout_add(child->backoff_ms, child_spawn, child);
}

static void on_exit_of_child(GPid pid, int status, gpointer user_data)
{
    LineChild *child = user_data;
    g_spawn_close_pid(pid);
    child->exit_source = 0;
    child->pid = 0; /* reaped: the number may be somebody else's now */
    child_close(child);
    child_again(child);
    log_line(LOG_LEVEL_NOTICE, "%s: the child ended (%s %d); again in %u ms", child->events->name,
             WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
             child->backoff_ms);
}

/* In the child, before exec. Our unit ends us alone (KillMode=process), and a guest's disk must not keep a forgotten
 * listener. The signal comes when the thread that made the child ends: that is the main thread. */
static void child_set_up(gpointer user_data G_GNUC_UNUSED)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static gboolean child_spawn(gpointer user_data)
{
    LineChild *child = user_data;
    g_autoptr(GError) error = NULL;
    child->again_source = 0;
    child->started_us = g_get_monotonic_time();
    if (!g_spawn_async_with_pipes("/", (char **) child->argv, NULL,
                                  G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDERR_TO_DEV_NULL, child_set_up, NULL,
                                  &child->pid, NULL, &child->fd, NULL, &error)) {
        child->fd = -1;
        child_again(child);
        log_line(LOG_LEVEL_WARNING, "%s: %s; again in %u ms", child->events->name, error->message, child->backoff_ms);
        return G_SOURCE_REMOVE;
    }
    g_unix_set_fd_nonblocking(child->fd, TRUE, NULL);
    g_string_truncate(child->partial, 0);
    if (child->events->begin) {
        child->events->begin(child->data);
    }
    child->fd_source = g_unix_fd_add(child->fd, G_IO_IN | G_IO_HUP | G_IO_ERR, on_readable, child);
    child->exit_source = g_child_watch_add(child->pid, on_exit_of_child, child);
    return G_SOURCE_REMOVE;
}

LineChild *line_child_start(const char *const *argv, const LineChildEvents *events, gpointer data)
{
    LineChild *child = g_new0(LineChild, 1);
    *child = (LineChild){.argv = argv,
                         .events = events,
                         .data = data,
                         .fd = -1,
                         .partial = g_string_new(NULL),
                         .backoff_ms = BACKOFF_MIN_MS};
    child_spawn(child);
    return child;
}

void line_child_stop(LineChild *child)
{
    child_close(child);
    if (child->exit_source) {
        g_source_remove(child->exit_source);
        waitpid(child->pid, NULL, 0); /* killed a moment ago */
    }
    if (child->again_source) {
        g_source_remove(child->again_source);
    }
    g_string_free(child->partial, TRUE);
    g_free(child);
}

GPid line_child_pid(const LineChild *child)
{
    return child->pid;
}
