/* SPDX-License-Identifier: Apache-2.0
 * A lock between processes of this node, by flock(2) on a file under /run/holdfast/lock; it dies with its holder. */
#pragma once

#include <glib.h>

/* Take the lock `name`, waiting at most timeout_ms. Returns a descriptor to close (lock_release), or -1 with BUSY. */
int lock_take(const char *name, int timeout_ms, GError **error);
void lock_release(int *lock);

/* For g_auto-like use: `LOCK_AUTO int lock = lock_take(...)`. */
#define LOCK_AUTO __attribute__((cleanup(lock_release)))
