/* SPDX-License-Identifier: Apache-2.0
 * The gate: a device-mapper device between a guest and its DRBD volume, `linear` onto /dev/drbdN (open) or `error`
 * (closed). The VMM only ever opens the gate, so closing it takes the disk away from any VMM in milliseconds, and a
 * target of a live migration can hold its disk open before promotion. Open gates exist only on the owner: `dmsetup
 * table` shows who may write. */
#pragma once

#include "common/process.h"

typedef enum { GATE_ABSENT, GATE_CLOSED, GATE_OPEN } GateState;

/* Make it closed if absent; size_bytes multiple of 512. A present gate keeps its state but is resized. */
gboolean gate_ensure(const ProcessRunner *runner, const char *name, gint64 size_bytes, GError **error);
gboolean gate_open(const ProcessRunner *runner, const char *name, int minor, gint64 size_bytes, GError **error);
/* Waits for I/O in flight (and so hangs to its deadline, TIMEOUT, when DRBD has frozen I/O). Absent counts as closed.
 */
gboolean gate_close(const ProcessRunner *runner, const char *name, gint64 size_bytes, GError **error);
gboolean gate_remove(const ProcessRunner *runner, const char *name,
                     GError **error); /* BUSY while opened; absent is fine */
gboolean gate_state(const ProcessRunner *runner, const char *name, GateState *ret, int *ret_open_count, GError **error);
char *gate_path(const char *name); /* /dev/mapper/<name>; caller frees */
const char *gate_state_name(GateState state);
