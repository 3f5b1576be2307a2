/* SPDX-License-Identifier: Apache-2.0
 * Wakes the reconcile of a guest at once when something of its DRBD resource changes, from a `drbdsetup-84 events2`
 * that runs as long as holdfastd.
 *
 * A trigger and nothing else: whoever decides reads the kernel again (storage/drbd_events.h tells why). While it does
 * not run, the round of every 3 s finds what it would have told. */
#pragma once

#include "node-agent/daemon.h"

typedef struct DrbdWatch DrbdWatch;

/* Main context only. Runs until the process ends; started again with back-off whenever it ends. */
DrbdWatch *drbd_watch_start(Daemon *daemon);
