# SPDX-License-Identifier: Apache-2.0
"""One measured fail-over: cut the power of the guest's node and find out when what happened. Used by the demonstration and the benchmark."""

import time

from . import timeline

# In the order in which they happen.
STAGES = ("detected_ms", "fenced_ms", "promoted_ms", "guest_started_ms", "service_back_ms")


def roles(cluster):
    """(node of the protected guest, the other replica's node, all nodes but the first)"""
    guest = cluster.wait_guest(cluster.names[0], protected=True)
    victim = guest["status"]["node"]
    return victim, next(node for node in guest["nodes"] if node != victim), [node for node in cluster.names if node != victim]


def measure(cluster, writing, victim, survivors, on_cut=lambda: None):
    """Cut the power of victim, wait for the writer's next acknowledgement; milliseconds after the cut, and what was started."""
    writing.wait_ok(time.monotonic())
    cluster.lab.power(victim, "off")
    cut = time.monotonic()
    on_cut()
    back = writing.wait_ok(cut + 0.001, 400)
    running = cluster.running_on()
    stages, steps = timeline.failover(cluster.lab, survivors, cut)
    return {"victim": victim, **stages, "service_back_ms": round((back - cut) * 1000), "duplicates_running": max(0, len(running) - 1),
            "start_steps": steps}
