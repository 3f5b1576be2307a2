/* SPDX-License-Identifier: Apache-2.0
 * The power-on budget in the store, beside the node, so that a change of DC does not begin it anew: power/<node>/<id>
 * for every attempt, leased for an hour (the store counts the time, no node's clock does), and power/<node>/left-off
 * once it is spent. */
#pragma once

#include "cluster/store.h"
#include "fencing/power.h"

gboolean power_budget_read(Store *store, const char *node, PowerBudget *ret, GError **error);
/* One attempt. To be stored before the power is switched on: what cannot be counted is not done. */
gboolean power_budget_spend(Store *store, const char *node, GError **error);
gboolean power_budget_leave_off(Store *store, const char *node, gboolean left_off, GError **error);
char *power_budget_prefix(const char *node);       /* of everything above; caller frees */
char *power_budget_left_off_key(const char *node); /* caller frees */
