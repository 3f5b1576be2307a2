/* SPDX-License-Identifier: Apache-2.0
 * A copy whose disk hangs drops out, so that the guest, which runs on the other node, goes on. */
#pragma once

#include "cluster/manifest.h"
#include "node-agent/daemon.h"
#include "storage/record.h"
#include "storage/volume.h"

/* The other node runs the guest, by the record, and has a whole copy: this one may drop out. Pure. */
gboolean give_way_may(const Record *record, const char *peer);
/* Look, and do it: a note (storage/lost_copy.h), and when the disk answers again the connection is cut. May be repeated
 * and killed anywhere. */
void give_way(Daemon *daemon, const VolumeSet *set, const char *peer, const Record *record);
