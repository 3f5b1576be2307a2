/* SPDX-License-Identifier: Apache-2.0
 * Wakes the reconcile of a guest at once when something of its DRBD resource changes, from a `drbdsetup-84 events2`
 * that runs as long as holdfastd.
 *
 * A trigger and nothing else: whoever decides reads the kernel again (storage/drbd_events.h tells why). While it does
 * not run, the round of every 3 s finds what it would have told. */
#pragma once

#include <glib.h>

typedef struct DrbdWatch DrbdWatch;

/* Something of this guest's resource changed. In the main context. */
typedef void (*DrbdWatchChanged)(const char *guest, gpointer user_data);

/* Main context only. The child is started again with back-off whenever it ends. argv NULL: the real one. */
DrbdWatch *drbd_watch_start(const char *const *argv, DrbdWatchChanged changed, gpointer user_data);
/* Ends the child; nothing is reported afterwards. */
void drbd_watch_stop(DrbdWatch *watch);
