/* SPDX-License-Identifier: Apache-2.0
 * A child that tells things, one a line, for as long as we live. Whatever is wrong with it (it ends, it says what
 * nobody understands) has one remedy: start it again, after a pause that grows. */
#pragma once

#include <glib.h>

typedef struct LineChild LineChild;

typedef struct {
    const char *name;             /* for the log */
    void (*begin)(gpointer data); /* a new child starts; may be NULL */
    /* FALSE: only a new child helps. */
    gboolean (*line)(const char *line, gpointer data);
} LineChildEvents;

/* From the thread that runs the default main context. `argv` and `events` stay the caller's and are used on and on. A
 * child that cannot be killed (its disk hangs) is not replaced before it has ended. */
LineChild *line_child_start(const char *const *argv, const LineChildEvents *events, gpointer data);
/* Waits for the child's end. */
void line_child_stop(LineChild *child);
/* 0: none runs now. */
GPid line_child_pid(const LineChild *child);
