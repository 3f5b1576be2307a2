/* SPDX-License-Identifier: Apache-2.0
 * Bridges of guest networks and the taps of guests, through `ip` (iproute2). */
#pragma once

#include "common/process.h"

/* Bridge hf-<network>: on `interface` (NULL: isolated), VLAN sub-interface when vlan > 0. Idempotent. NOT_FOUND when
 * the interface is missing. */
gboolean network_bridge_ensure(const ProcessRunner *runner, const char *network, const char *interface, int vlan,
                               GError **error);
gboolean network_bridge_remove(const ProcessRunner *runner, const char *network, GError **error);
/* Tap owned by uid, in the bridge, up. Idempotent. */
gboolean network_tap_ensure(const ProcessRunner *runner, const char *tap, int uid, const char *bridge, GError **error);
gboolean network_tap_remove(const ProcessRunner *runner, const char *tap, GError **error);
char *network_bridge_name(const char *network); /* caller frees */
