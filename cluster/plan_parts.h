/* SPDX-License-Identifier: Apache-2.0
 * What the files of the planner share. */
#pragma once

#include "cluster/plan.h"

#define POOL_FULL_PERMILLE 900

/* Borrowed; NULL: the node has not said anything. */
const NodeStatus *plan_status_find(const PlanSnapshot *snapshot, const char *node);
