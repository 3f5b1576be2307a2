/* SPDX-License-Identifier: Apache-2.0
 * The power-on budget. */
#include "fencing/power.h"

#define HOUR_MS ((gint64) 3600 * 1000)

static int attempts_in_last_hour(const PowerHistory *history, gint64 now_ms)
{
    int count = 0;
    for (guint i = 0; i < G_N_ELEMENTS(history->attempts_ms); i++) {
        gint64 at = history->attempts_ms[i];
        count += at != 0 && now_ms - at < HOUR_MS;
    }
    return count;
}

PowerDecision power_decide(PowerHistory *history, gboolean is_off, gint64 now_ms)
{
    if (!is_off) {
        history->off_since_ms = 0;
        history->left_off = FALSE;
        return POWER_WAIT;
    }
    if (history->off_since_ms == 0) {
        history->off_since_ms = now_ms;
    }
    /* A node that keeps dying is left off for people to look at: switching it on and shooting it in turn helps nobody.
     */
    if (attempts_in_last_hour(history, now_ms) >= POWER_ON_BUDGET_PER_HOUR) {
        history->left_off = TRUE;
    }
    if (history->left_off) {
        return POWER_LEAVE_OFF;
    }
    return now_ms - history->off_since_ms >= POWER_ON_DELAY_MS ? POWER_TURN_ON : POWER_WAIT;
}

void power_record_attempt(PowerHistory *history, gint64 now_ms)
{
    guint oldest = 0;
    for (guint i = 1; i < G_N_ELEMENTS(history->attempts_ms); i++) {
        if (history->attempts_ms[i] < history->attempts_ms[oldest]) {
            oldest = i;
        }
    }
    history->attempts_ms[oldest] = now_ms;
    history->off_since_ms = 0; /* the pause counts anew: it needs time to boot */
}
