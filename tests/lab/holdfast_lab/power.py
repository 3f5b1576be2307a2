# SPDX-License-Identifier: Apache-2.0
"""Cutting the power of a node. Imported by the BMC helper on every request: keep its imports few."""

import time

from . import events, locks, process


def is_on(paths):
    return process.recorded(paths.qemu) is not None


def off(paths, events_path, node, by):
    """Kill the node's QEMU as a power cut does; return when it is gone, for a fencing answer is believed.
    False when the power was off already."""
    asked = time.monotonic()
    with locks.locked(str(paths.lock)):
        if not process.kill_recorded(paths.qemu):
            return False
        events.append(events_path, "power.off", node=node, by=by,
                      took_ms=round((time.monotonic() - asked) * 1000))
    return True
