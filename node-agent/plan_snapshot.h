/* SPDX-License-Identifier: Apache-2.0
 * What the planner plans over, out of the cache and Pacemaker's status. */
#pragma once

#include "cluster/plan.h"
#include "node-agent/daemon.h"

/* `pacemaker` may be NULL: where guests run is then taken to be where they would be started. */
void plan_snapshot_take(Daemon *daemon, const PacemakerStatus *pacemaker, PlanSnapshot *snapshot);
void plan_snapshot_clear(PlanSnapshot *snapshot);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PlanSnapshot, plan_snapshot_clear)
