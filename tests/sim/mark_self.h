/* SPDX-License-Identifier: Apache-2.0
 * Rule "mark self" as the model calls it: the caller has seen in DRBD that the disk here is gone and the connected peer
 * is UpToDate. */
#pragma once

#include "storage/record_codec.h"

#define MARK_SELF_IS_REAL 1

static inline bool sim_mark_self(const Record *record, const char *node, const char *boot_id, const char *peer,
                                 Record *out)
{
    RecordSelfFacts facts = {
        .node = node, .boot_id = boot_id, .peer = peer, .own_disk_lost = true, .peer_up_to_date = true};
    char reason[200];
    return record_mark_self(record, &facts, out, reason, sizeof(reason));
}
