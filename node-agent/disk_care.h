/* SPDX-License-Identifier: Apache-2.0
 * Disks of this node that hang without an error: noticed by the probe and by DRBD's own counters, told, and left. */
#pragma once

#include "node-agent/daemon.h"
#include "node-agent/disk_judge.h"

/* In the main thread, once. `hang_s` 0: the default. */
void disk_care_begin(Daemon *daemon, gint64 hang_s);
/* For tests: frees what begin made. No task may run any more. */
void disk_care_end(Daemon *daemon);
/* "disks": one look at all of them. Starts no process and reads no disk. */
void disk_care_look(const char *key, gpointer user_data);
/* The same at a given time of the monotonic clock, for tests. */
void disk_care_look_at(Daemon *daemon, gint64 now_us);
/* The logical volume of the probe is there and active: the probe may begin. Any thread. */
void disk_care_probe_ready(Daemon *daemon);

/* By the last look. DISK_WELL for a guest that was not looked at. Any thread. */
DiskVerdict disk_care_verdict(Daemon *daemon, const char *guest);
/* Something of this node's storage hangs: programs that look at it would hang too. Any thread. */
gboolean disk_care_hangs(Daemon *daemon);
/* For people; NULL: all is well. Caller frees. Any thread. */
char *disk_care_text(Daemon *daemon);
