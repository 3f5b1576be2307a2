/* SPDX-License-Identifier: Apache-2.0
 * etcd members that do not vote yet. A joiner is added as learner and promoted once it has caught up, so a join that is
 * cut short anywhere never costs the cluster its majority (a plain second member would, from the moment it is added
 * until it runs). etcd 3.4 allows one learner at a time. */
#pragma once

#include "cluster/store.h"

/* Like store_member_add(). EXISTS counts as FAILED here: look at store_members() first. */
gboolean store_learner_add(Store *store, const char *peer_url, GError **error);
/* Make it vote. UNAVAILABLE while it has not caught up: try again. `id` decimal. */
gboolean store_learner_promote(Store *store, const char *id, GError **error);
