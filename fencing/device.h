/* SPDX-License-Identifier: Apache-2.0
 * One fence device of a node, used directly through its stock agent in /usr/sbin (for checks, power-on and proof; the
 * shot itself is always Pacemaker's). Parameters go in on standard input, never on the command line, and are never
 * logged. */
#pragma once

#include "cluster/objects.h"
#include "common/process.h"

typedef enum { FENCE_POWER_UNKNOWN, FENCE_POWER_OFF, FENCE_POWER_ON } FencePower;

/* Agent exists and is named fence_*, parameters are name=value; INVALID names the field. */
gboolean fence_device_check(const FenceDevice *device, GError **error);
/* For fence_ipmilan without a cipher: try 17 then 3 and set it. Others: no change. */
gboolean fence_device_pin(const ProcessRunner *runner, FenceDevice *device, GError **error);
gboolean fence_device_status(const ProcessRunner *runner, const FenceDevice *device, FencePower *ret, GError **error);
/* For who cannot wait for a device that may be dead: TIMEOUT after timeout_ms. */
gboolean fence_device_status_within(const ProcessRunner *runner, const FenceDevice *device, int timeout_ms,
                                    FencePower *ret, GError **error);
gboolean fence_device_power_on(const ProcessRunner *runner, const FenceDevice *device, GError **error);
