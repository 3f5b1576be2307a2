/* SPDX-License-Identifier: Apache-2.0
 * The budgeted power-on controller: a node that was fenced (off) is powered on again after a pause, at most so often an
 * hour, then left off with an alarm. Pure decision; holdfastd on the DC carries it out. */
#pragma once

#include <glib.h>

#define POWER_ON_DELAY_MS 30000
#define POWER_ON_BUDGET_PER_HOUR 2

typedef struct {
    gint64 off_since_ms;   /* monotonic; 0: not seen off */
    gint64 attempts_ms[8]; /* monotonic times of past power-ons, 0 = free */
    gboolean left_off;     /* budget spent: stays off until somebody else switches it on */
} PowerHistory;

typedef enum { POWER_WAIT, POWER_TURN_ON, POWER_LEAVE_OFF } PowerDecision;
/* `is_off`: fenced and not a member. Updates history. */
PowerDecision power_decide(PowerHistory *history, gboolean is_off, gint64 now_ms);
void power_record_attempt(PowerHistory *history, gint64 now_ms);
