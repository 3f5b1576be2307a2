/* SPDX-License-Identifier: Apache-2.0
 * DRBD's event local-io-error. */
#pragma once

/* `device` is "minor-N". Returns within about a second: DRBD's worker thread waits for it. */
void local_io_error(const char *device);
