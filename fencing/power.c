/* SPDX-License-Identifier: Apache-2.0
 * When a node that is off is powered on. */
#include "fencing/power.h"

PowerDecision power_decide(gint64 *off_since_ms, const PowerBudget *budget, gboolean is_off, gint64 now_ms)
{
    if (!is_off) {
        *off_since_ms = 0;
        return POWER_WAIT;
    }
    if (*off_since_ms == 0) {
        *off_since_ms = now_ms;
    }
    /* A node that keeps dying is left off for people to look at: switching it on and shooting it in turn helps nobody.
     */
    if (budget->left_off || budget->attempts >= POWER_ON_BUDGET_PER_HOUR) {
        return POWER_LEAVE_OFF;
    }
    return now_ms - *off_since_ms >= POWER_ON_DELAY_MS ? POWER_TURN_ON : POWER_WAIT;
}
