# SPDX-License-Identifier: Apache-2.0
"""When what happened during a fail-over, from the nodes' journals, on the host's monotonic clock.

A node's wall clock is compared with the host's over ssh (half the round trip is the error, some tens of milliseconds)."""

import re
import time

# journal line -> stage; the first line after the cut counts.
STAGES = (
    ("detected_ms", re.compile(r"corosync.*(A new membership|A processor failed)|holdfastd.*membership: connected")),
    ("fenced_ms", re.compile(r"pacemaker-fenced.*Operation 'off'.* targeting (?P<node>\S+).*: OK")),
    ("guest_started_ms", re.compile(r"holdfast-ocf.*guest '(?P<guest>[^']+)': started here \((?P<steps>[^)]*)\)")),
)


def clock_offset(lab, node):
    """node wall clock minus host monotonic clock, in seconds."""
    best = None
    for _ in range(3):
        before = time.monotonic()
        text = lab.ssh(node, "date +%s.%N", timeout_s=20).stdout
        after = time.monotonic()
        if best is None or after - before < best[0]:
            best = (after - before, float(text) - (before + after) / 2)
    return best[1]


def journal(lab, node, offset, begin):
    """(monotonic moment, line) of a node's journal since `begin`."""
    since = f"@{begin + offset - 1:.0f}"
    text = lab.ssh(node, f"journalctl --no-pager -o short-unix --since {since}", timeout_s=60).stdout
    found = []
    for line in text.splitlines():
        head, _, rest = line.partition(" ")
        try:
            found.append((float(head) - offset, rest))
        except ValueError:
            continue
    return found


def failover(lab, survivors, cut):
    """Stage -> ms after the cut, earliest over the surviving nodes, and the start's own steps."""
    stages, steps = {}, ""
    for node in survivors:
        for moment, line in journal(lab, node, clock_offset(lab, node), cut):
            if moment <= cut:
                continue
            for name, pattern in STAGES:
                match = pattern.search(line)
                if match and (name not in stages or (moment - cut) * 1000 < stages[name]):
                    stages[name] = (moment - cut) * 1000
                    steps = match.groupdict().get("steps") or steps
    launch = re.search(r"launch (\d+) ms", steps)
    if "guest_started_ms" in stages and launch:
        stages["promoted_ms"] = stages["guest_started_ms"] - int(launch[1])
    return {name: round(value) for name, value in stages.items()}, steps
