/* SPDX-License-Identifier: Apache-2.0
 * One line of the black box: what a node logged, as it goes over the wire and into the ring files; and which journal
 * lines are worth keeping. Pure. */
#pragma once

#include "common/json.h"

#define BLACKBOX_TEXT_MAX_BYTES 400
#define BLACKBOX_LINE_MAX_BYTES 2048 /* encoded */

typedef enum {
    BLACKBOX_LOG,   /* a journal line of the node */
    BLACKBOX_GAP,   /* lines before this one are missing; the text says why */
    BLACKBOX_CLOCK, /* keeper's mark: offset_us was measured at time_us (keeper's clock) */
    BLACKBOX_HEARD, /* keeper's mark: the stream ended; time_us (keeper's clock) is when the node was last heard */
} BlackboxKind;

/* Immutable once made, shared by reference. (boot, mono_us) is its place in the node's stream: mono_us grows strictly
 * within a boot. */
typedef struct {
    int kind;         /* BlackboxKind */
    char *boot;       /* kernel boot id, 32 hex digits; "" in keeper's marks */
    gint64 mono_us;   /* since that boot */
    gint64 time_us;   /* wall clock of the node (of the keeper in its marks) */
    gint64 offset_us; /* CLOCK: keeper's clock minus the node's */
    gint64 priority;  /* syslog's, 0..7 */
    char *source;     /* "corosync", "kernel", ... */
    char *text;
} BlackboxLine;

/* Texts are made valid UTF-8 without control characters, passwords are blanked, and both are cut to their limits. */
BlackboxLine *blackbox_line_new(BlackboxKind kind, const char *boot, gint64 mono_us, gint64 time_us, int priority,
                                const char *source, const char *text);
BlackboxLine *blackbox_line_ref(BlackboxLine *line);
void blackbox_line_unref(BlackboxLine *line);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlackboxLine, blackbox_line_unref)

json_t *blackbox_line_to_json(const BlackboxLine *line);
/* INVALID for anything a node of ours would not have written: unknown members, no boot id, long texts. */
BlackboxLine *blackbox_line_from_json(const json_t *object, GError **error);

/* A place in a node's stream. boot "" means nothing yet. */
typedef struct {
    char boot[33];
    gint64 mono_us;
} BlackboxPlace;

void blackbox_place_set(BlackboxPlace *place, const char *boot, gint64 mono_us);
/* Whether the line is of `place`'s boot and not after it. */
gboolean blackbox_place_covers(const BlackboxPlace *place, const BlackboxLine *line);

/* NULL-terminated: identifiers (SYSLOG_IDENTIFIER) that can matter at all. */
const char *const *blackbox_sources(void);
/* Whether such a line matters. */
gboolean blackbox_wanted(const char *source, int priority, const char *text);
/* etcd logs JSON: its level and message. Others: a copy. Caller frees. */
char *blackbox_text_of(const char *source, const char *message);
