/* SPDX-License-Identifier: Apache-2.0
 * The probe's child and its last word. */
#include "node-agent/disk_probe.h"

#include "common/file.h"
#include "node-agent/line_child.h"

#include <string.h>

struct DiskProbe {
    LineChild *child;
    GMutex lock;
    DiskProbeSaid said; /* lock */
    GPid pid;           /* lock; 0: none */
};

static void on_begin(gpointer data)
{
    DiskProbe *probe = data;
    g_mutex_lock(&probe->lock);
    probe->said.pending = FALSE;
    probe->said.rounds++;
    probe->pid = 0; /* its first line tells */
    g_mutex_unlock(&probe->lock);
}

static gboolean on_line(const char *line, gpointer data)
{
    DiskProbe *probe = data;
    gboolean begins = g_str_equal(line, "begin"), fails = g_str_has_prefix(line, "error ");
    if (!begins && !fails && !g_str_equal(line, "end")) {
        return FALSE;
    }
    g_mutex_lock(&probe->lock);
    probe->said.pending = begins;
    probe->said.rounds++;
    probe->pid = line_child_pid(probe->child);
    if (!begins) {
        g_strlcpy(probe->said.error, fails ? line + strlen("error ") : "", sizeof(probe->said.error));
    }
    g_mutex_unlock(&probe->lock);
    return TRUE;
}

DiskProbe *disk_probe_start(const char *const *argv)
{
    static const LineChildEvents events = {.name = "disk probe", .begin = on_begin, .line = on_line};
    DiskProbe *probe = g_new0(DiskProbe, 1);
    g_mutex_init(&probe->lock);
    probe->child = line_child_start(argv, &events, probe);
    return probe;
}

void disk_probe_stop(DiskProbe *probe)
{
    line_child_stop(probe->child);
    g_mutex_clear(&probe->lock);
    g_free(probe);
}

/* "1234 (name) S ...": the letter behind the last parenthesis. */
static gboolean is_runnable(GPid pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int) pid);
    g_autofree char *text = pid > 0 ? file_read(path, 4096, NULL) : NULL;
    const char *close = text ? strrchr(text, ')') : NULL;
    return close && strncmp(close, ") R", 3) == 0;
}

DiskProbeSaid disk_probe_said(DiskProbe *probe)
{
    g_mutex_lock(&probe->lock);
    DiskProbeSaid said = probe->said;
    GPid pid = probe->pid;
    g_mutex_unlock(&probe->lock);
    said.pending = said.pending && !is_runnable(pid);
    return said;
}
