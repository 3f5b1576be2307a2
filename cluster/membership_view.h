/* SPDX-License-Identifier: Apache-2.0
 * Pure part of membership.c, apart so that tests reach it. */
#pragma once

#include "cluster/membership.h"

/* A connected view; members beyond the table's 64 are left out (a cell has at most 32 nodes). */
void membership_view_set(MembershipView *view, gboolean quorate, guint64 ring_sequence, const guint32 *nodes,
                         guint n_nodes);
