/* SPDX-License-Identifier: Apache-2.0
 * What is kept of one node: a bounded file in two halves, <folder>/<node>.log and the older <node>.log.old.
 *
 * One JSON object a line; the first line of each half says the version. A line torn by a crash is cut off at the next
 * opening, one damaged otherwise is skipped. A full disk loses lines, which is counted and written down as a gap as
 * soon as there is room again. */
#pragma once

#include "node-agent/blackbox_line.h"

typedef struct BlackboxRing BlackboxRing;

/* max_bytes is for both halves together. Nothing is opened yet. */
BlackboxRing *blackbox_ring_new(const char *folder, const char *node, gsize max_bytes);
void blackbox_ring_free(BlackboxRing *ring);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlackboxRing, blackbox_ring_free)

/* All of these: any thread, one at a time by the ring's lock. */

/* Append a log or gap line after the last place, or a keeper's mark. A line that is not after the last one is left out
 * (TRUE). FALSE: it could not be written and is counted as lost; *error only for the first of a row of failures. */
gboolean blackbox_ring_append(BlackboxRing *ring, const BlackboxLine *line, GError **error);
/* Where the stream of that node has got to here. */
BlackboxPlace blackbox_ring_place(BlackboxRing *ring);
/* Lines lost since the last one that was written: the disk is full now. */
guint blackbox_ring_lost(BlackboxRing *ring);
/* Push what was appended to the disk, when anything was. */
void blackbox_ring_sync(BlackboxRing *ring);

/* Every readable line, oldest first. */
typedef void (*BlackboxEach)(BlackboxLine *line, gpointer user_data);
void blackbox_ring_each(BlackboxRing *ring, BlackboxEach each, gpointer user_data);
