/* SPDX-License-Identifier: Apache-2.0
 * The note "DRBD found on this node that the two copies of guest G went different ways", SPLIT_BRAIN_ROOT/GUEST.
 * Written by DRBD's handler on the kernel's event, taken away by holdfastd; it does not outlive a boot, for the next
 * connection finds out anew. libc only: the handler uses it. `root` is SPLIT_BRAIN_ROOT everywhere but in tests. */
#pragma once

#include <stdbool.h>

#define SPLIT_BRAIN_ROOT "/run/holdfast/split-brain"

/* False with errno. */
bool split_brain_note(const char *root, const char *guest);
bool split_brain_is_noted(const char *root, const char *guest);
bool split_brain_forget(const char *root, const char *guest);
