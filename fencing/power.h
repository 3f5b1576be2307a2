/* SPDX-License-Identifier: Apache-2.0
 * The budgeted power-on controller: a node that was fenced (off) is powered on again after a pause, at most so often an
 * hour, then left off with an alarm. Pure decision; holdfastd on the DC carries it out. */
#pragma once

#include <glib.h>

#define POWER_ON_DELAY_MS 30000
#define POWER_ON_BUDGET_PER_HOUR 2

/* What the cluster remembers of one node, whoever is DC (power_budget.h). */
typedef struct {
    guint attempts;    /* power-ons in the last hour */
    gboolean left_off; /* budget spent: stays off until somebody else switches it on */
} PowerBudget;

typedef enum { POWER_WAIT, POWER_TURN_ON, POWER_LEAVE_OFF } PowerDecision;
/* `is_off`: fenced and not a member. *off_since_ms (0: not seen off) is the caller's memory between calls, by any
 * steady clock: a new DC begins the pause anew. After POWER_TURN_ON set it to 0: the node needs time to boot. */
PowerDecision power_decide(gint64 *off_since_ms, const PowerBudget *budget, gboolean is_off, gint64 now_ms);
