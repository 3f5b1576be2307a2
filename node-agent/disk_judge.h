/* SPDX-License-Identifier: Apache-2.0
 * What a disk that hangs without an error calls for, per guest. Pure. */
#pragma once

#include <glib.h>

#define DISK_HANG_S 30 /* unless node.json says otherwise */

typedef enum {
    DISK_WELL,
    DISK_HANGS,    /* people are told, and the disk is not touched by us */
    DISK_GIVE_WAY, /* the copy here drops out, so that the guest goes on with the other */
    DISK_SHOOT,    /* the guest here hangs with it and the other copy is whole: only the node's end frees the guest */
} DiskVerdict;

typedef struct {
    gint64 probe_us;      /* how long the probe of this node's pool stalls */
    gint64 volume_us;     /* how long DRBD waits for the disk under a volume of this guest */
    gboolean primary;     /* the guest runs here */
    gboolean other_whole; /* its other copy is connected, UpToDate, in the record, on a node that is there; and this
                             node's fencing is proven */
} DiskFacts;

/* `hang_s`: when a copy drops out. People are told after a third of it. A node is shot after twice as long, and only
 * for a guest's own I/O that hangs: the probe alone shoots nobody. */
DiskVerdict disk_judge(const DiskFacts *facts, gint64 hang_s);
