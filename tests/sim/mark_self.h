/* SPDX-License-Identifier: Apache-2.0
 * Rule "mark self" until storage/record_codec.c has it: then this file is one call of record_mark_self(). */
#pragma once

#include "storage/record_codec.h"

#include <string.h>

#define MARK_SELF_IS_REAL 0 /* then the codec takes its records too */

/* The running owner lost its own disk and is served by the peer's: generation+1 with the peer alone in sync. The caller
 * has seen in DRBD that the disk here is gone and the connected peer is UpToDate. */
static inline bool sim_mark_self(const Record *record, const char *node, const char *boot_id, const char *peer,
                                 Record *out)
{
    if (record->state != RECORD_RUNNING || strcmp(record->owner, node) != 0 ||
        strcmp(record->owner_boot_id, boot_id) != 0 || record->handover_to[0]) {
        return false;
    }
    *out = *record;
    out->generation++;
    memset(out->in_sync, 0, sizeof(out->in_sync));
    strcpy(out->in_sync[0], peer);
    return true;
}
