/* SPDX-License-Identifier: Apache-2.0
 * The end of the doubt about an in-sync record after a rescue or restore of the store: by the node that runs the guest,
 * or by an operator. (The third way, two equal copies, is the start claim's.) */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/replica_sight.h"
#include "storage/record_codec.h"

#define RECORD_DOUBT_TEXT                                                                                              \
    "the store was rescued or restored, and which copy is current is not certain: it starts when both copies are "     \
    "connected and UpToDate, or after 'holdfast guest confirm'"

/* If `record` is in doubt and the guest runs here and may write: it is ours. *record becomes what was written. */
void record_doubt_follow(Daemon *daemon, const Manifest *manifest, Record *record);

/* Peer verb "replica.renew" of this node: an operator says that the frozen Primary here is the current copy. Caller
 * owns. */
json_t *record_doubt_renew(Daemon *daemon, const Manifest *manifest, GError **error);

typedef enum { DOUBT_REFUSE, DOUBT_CONFIRM, DOUBT_RENEW } DoubtStep;
/* What an operator's word for the copy on `node` leads to; `other` NULL: there is one copy. *ret_reason for people when
 * refused; a literal. Pure. */
DoubtStep record_doubt_decide(const ReplicaView *node, const ReplicaView *other, const char **ret_reason);

/* The operator's word. REFUSED with the reason. */
gboolean record_doubt_confirm(Daemon *daemon, const Guest *guest, const char *node, GError **error);
