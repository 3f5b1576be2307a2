/* SPDX-License-Identifier: Apache-2.0
 * The progress of resyncs, for people. 8.4's events2 tells a resync's begin and end but nothing in between, so the
 * kernel's figures are read in each round of a guest. Nothing is decided by them. */
#pragma once

#include "node-agent/daemon.h"

/* Look at the guest's volumes on this node. TRUE: one is resyncing and its figures were not published lately. */
gboolean resync_look(Daemon *daemon, const Guest *guest);
/* Complete the figures of each VolumeStatus of the guest, before it is published: those of a resync under way are
 * renewed only when it is time to publish them. */
void resync_fill(Daemon *daemon, const char *guest, GPtrArray *statuses);

/* "resync 43 %, about 20 s left"; NULL when this replica is not being resynced. Caller frees. */
char *resync_text(const VolumeStatus *status);
/* The same of the guest's replica that is furthest behind, as its nodes publish it. */
char *resync_text_of_guest(Daemon *daemon, const Guest *guest);
