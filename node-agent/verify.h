/* SPDX-License-Identifier: Apache-2.0
 * Comparing the two copies of a guest (DRBD's online verification), by an operator's wish and once a week by itself.
 * Neither DRBD nor RAID below it notices a disk that returns other data than was written; only a comparison does. The
 * driver is drive_guest_verify() (operation.h). */
#pragma once

#include "cluster/objects.h"
#include "node-agent/daemon.h"

#define VERIFIED_PREFIX "verified/"
/* Not "guest/NAME": a comparison must not hold up a migration, nor the other way round. */
#define VERIFY_TARGET_PREFIX "copies/"
#define VERIFY_REPAIR "repair"

/* Begin the comparison of one guest that is due, if none is under way. For the node that judges. */
void verify_when_due(Daemon *daemon);

/* Whether a guest is due: not compared for a week, not younger than a day, and it is night (1 to 5 o'clock local time).
 * `last` NULL: never compared. Pure. */
gboolean verify_is_due(const Guest *guest, const Verification *last, GDateTime *now);

/* "its two copies differed in 12 KiB when ...", with the remedy; NULL: nothing to say. Caller frees. */
char *verify_problem(const Verification *last);
