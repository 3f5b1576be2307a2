/* SPDX-License-Identifier: Apache-2.0
 * The child that tells what happens to DRBD. Whatever is wrong with it (it ends, it skips events, it says what nobody
 * understands) has one remedy: start it again and compare its full dump with what was known. */
#include "node-agent/drbd_watch.h"

#include "common/log.h"
#include "node-agent/line_child.h"
#include "storage/drbd_events.h"
#include "storage/drbd_internal.h"

#include <string.h>

#define RESOURCE_PREFIX "hf-" /* drbd_resource_name() */

struct DrbdWatch {
    DrbdWatchChanged changed;
    gpointer user_data;
    DrbdEvents *events;
    LineChild *child;
};

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
static gboolean on_line(const char *line, gpointer user_data)
{
    DrbdWatch *watch = user_data;
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

static void on_begin(gpointer user_data)
{
    DrbdWatch *watch = user_data;
    drbd_events_begin(watch->events);
}

DrbdWatch *drbd_watch_start(const char *const *argv, DrbdWatchChanged changed, gpointer user_data)
{
    static const char *const real[] = {DRBDSETUP, "events2", "all", "--timestamps", "--statistics", NULL};
    static const LineChildEvents events = {.name = "DRBD events", .begin = on_begin, .line = on_line};
    DrbdWatch *watch = g_new0(DrbdWatch, 1);
    *watch = (DrbdWatch){.changed = changed, .user_data = user_data, .events = drbd_events_new()};
    watch->child = line_child_start(argv ? argv : real, &events, watch);
    return watch;
}

void drbd_watch_stop(DrbdWatch *watch)
{
    line_child_stop(watch->child);
    drbd_events_free(watch->events);
    g_free(watch);
}
