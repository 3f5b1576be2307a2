/* SPDX-License-Identifier: Apache-2.0
 * How long a resync still takes, from how it went lately. Pure. */
#pragma once

#include <glib.h>

#define RESYNC_RATE_SAMPLES 8

typedef struct {
    guint n;
    gint64 at_ms[RESYNC_RATE_SAMPLES]; /* oldest first */
    gint64 left_kib[RESYNC_RATE_SAMPLES];
} ResyncRate;

/* What is out of sync now. More than before (another resync) begins anew; samples closer than a second are left out. */
void resync_rate_add(ResyncRate *rate, gint64 now_ms, gint64 left_kib);
/* Seconds left, at least 1; 0: not known (too early, or it does not get on). */
gint64 resync_rate_left_s(const ResyncRate *rate);
