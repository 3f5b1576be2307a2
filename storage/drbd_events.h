/* SPDX-License-Identifier: Apache-2.0
 * What `drbdsetup-84 events2 all --timestamps --statistics` says, line by line: first everything that exists, then
 * `exists -`, then every change as it happens. Pure: lines in, a table of the states out.
 *
 * The table is for noticing that something changed, never for deciding: an event is old when it is read, and a line may
 * have been lost. Who claims, promotes, clears or marks reads the kernel (drbd_state_read) at that moment. */
#pragma once

#include <glib.h>

typedef enum {
    DRBD_EVENT_NOTHING,  /* understood, but none of this: statistics, roles, helper calls, a repeated dump */
    DRBD_EVENT_CHANGED,  /* a disk, a connection or I/O's suspension of *ret_resource is not what the table held */
    DRBD_EVENT_DUMP_END, /* all that exists was named */
    DRBD_EVENT_LOST,     /* drbdsetup says that events were skipped: only a new dump tells what is */
} DrbdEventKind;

typedef struct DrbdEvents DrbdEvents;

DrbdEvents *drbd_events_new(void);
void drbd_events_free(DrbdEvents *events);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DrbdEvents, drbd_events_free)

/* A new run of drbdsetup begins with its dump. What the table holds stays for comparison. */
void drbd_events_begin(DrbdEvents *events);
/* One line without its line feed. *ret_resource (caller frees) is set with CHANGED only. INVALID: not a line of
 * events2, or a truncated one; the table is as before. */
gboolean drbd_events_line(DrbdEvents *events, const char *line, DrbdEventKind *ret, char **ret_resource,
                          GError **error);
/* After DUMP_END: forget what the dump did not name. The resources this concerns, each once; the caller unrefs. */
GPtrArray *drbd_events_sweep(DrbdEvents *events);

/* A state as last told, in events2's words: ("device", "hf-web1", 0, "disk") -> "UpToDate". volume -1 for objects
 * without one. NULL when not known. Borrowed until the next line. */
const char *drbd_events_word(const DrbdEvents *events, const char *object, const char *resource, int volume,
                             const char *field);
