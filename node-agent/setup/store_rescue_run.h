/* SPDX-License-Identifier: Apache-2.0
 * `holdfast store rescue` and `holdfast store restore`: a new store of one voter, this node, from this node's own data
 * folder or from a snapshot. By root, locally: it cannot go through the store. */
#pragma once

#include "node-agent/setup/context.h"

typedef struct {
    const char *snapshot; /* file to restore; NULL: rescue of this node's own data */
    const char *confirm;  /* the cluster's name, as typed */
    gboolean others_gone; /* the operator says: the other voters are off, gone, or have left the store */
} RescueRequest;

/* What is seen here, as text for people: cluster, voters and who answers, this node's revision. Caller frees. */
char *rescue_look_text(const SetupContext *context, GError **error);

/* REFUSED, with nothing changed: the store has its majority (rescue), another voter's etcd answers, this node has no
 * member, or the request does not name the cluster and vouch for the others. Otherwise all is made ready beside the
 * data folder and put in place by one exchange of names; the old folder is kept. Killed anywhere, the same call goes on
 * or begins anew, and until the exchange the old store is untouched. */
gboolean rescue_run(const SetupContext *context, const RescueRequest *request, GError **error);
