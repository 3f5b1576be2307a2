/* SPDX-License-Identifier: Apache-2.0
 * What a disk that hangs calls for. DRBD could be told to give up on it (disk-timeout, or a forced detach), and is not:
 * it would then report the guest's requests as done while the disk may still read or write their pages, which belong to
 * somebody else by then. DRBD itself panics the node when such a request ends late. The only safe way out of a disk
 * that hangs under a running guest is the end of that node. A copy that nobody runs on has no such pages of a guest:
 * there a cut connection is enough. */
#include "node-agent/disk_judge.h"

DiskVerdict disk_judge(const DiskFacts *facts, gint64 hang_s)
{
    gint64 longest_us = MAX(facts->probe_us, facts->volume_us), hang_us = hang_s * G_USEC_PER_SEC;
    if (longest_us < MAX(hang_us / 3, G_USEC_PER_SEC)) {
        return DISK_WELL;
    }
    if (!facts->primary) {
        return longest_us >= hang_us ? DISK_GIVE_WAY : DISK_HANGS;
    }
    return facts->volume_us >= 2 * hang_us && facts->other_whole ? DISK_SHOOT : DISK_HANGS;
}
