/* SPDX-License-Identifier: Apache-2.0
 * For how long something that is under way has made no progress. Pure.
 *
 * Only time that was looked at counts, at most STALL_STEP_US a look: when this process or the whole machine stood
 * still, that says nothing about the disk. */
#pragma once

#include <glib.h>

#define STALL_STEP_US (6 * G_USEC_PER_SEC)

typedef struct {
    gint64 looked_us, stalled_us;
    guint64 progress;
} Stall;

/* One look. `progress`: any number that changes when something gets done. Returns how long it stalls, 0: it does not.
 */
gint64 stall_look(Stall *stall, gboolean pending, guint64 progress, gint64 now_us);
