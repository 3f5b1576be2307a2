/* SPDX-License-Identifier: Apache-2.0
 * This node's newest lines in memory, from which every peer's stream is served. Bounded: who is slower than the oldest
 * line gets a gap. Any thread. */
#pragma once

#include "node-agent/blackbox_line.h"

typedef struct BlackboxTail BlackboxTail;

BlackboxTail *blackbox_tail_new(gsize max_bytes);
void blackbox_tail_free(BlackboxTail *tail);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlackboxTail, blackbox_tail_free)

void blackbox_tail_push(BlackboxTail *tail, BlackboxLine *line);
/* Wake everybody who waits; waits end at once from now on. */
void blackbox_tail_close(BlackboxTail *tail);

/* Up to `max` lines after `place`, waiting at most timeout_ms for the first. *ret_gap: lines between `place` and the
 * first of them are gone. An empty array when there are none. Caller unrefs. */
GPtrArray *blackbox_tail_after(BlackboxTail *tail, const BlackboxPlace *place, guint max, int timeout_ms,
                               gboolean *ret_gap);
