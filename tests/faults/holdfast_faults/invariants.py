# SPDX-License-Identifier: Apache-2.0
"""The invariants, judged over what was observed. Pure: lists of dicts in, a list of violations (texts) out.

I1 never two writers, I3 no acknowledged write lost or torn, I4 the guest runs at most once, I5 it starts elsewhere only once its old node is off or
has closed its gate, I8 no I/O frozen for long in a healthy cluster, I9 no node fenced without need. (I2 is judged by its effect on I3; I6 and I7, service
back and everything equal again, by cycle.py, which waits for them.)"""

from holdfast_check import history

# Two observations of different nodes are comparable to within this.
CLOCK_SLACK_S = 0.5
FROZEN_BOUND_S = 120


def may_write(sample):
    """A VMM could have a write acknowledged from here, now or as soon as I/O thaws."""
    return sample["vmm"] != 0 and sample["gate"] == "linear" and any(drbd["ro"].startswith("Primary") for drbd in sample["drbd"])


def frozen(sample):
    return any(drbd["frozen"] for drbd in sample["drbd"])


def intervals(samples, test, power_offs, silence_s=6.0):
    """{node: [(begin, end)]} in which test holds by each node's samples. It ends with the first sample that says otherwise, another boot, a power cut,
    or, when the node fell silent, with its last sample."""
    found, open_ = {}, {}

    def close(node, end):
        begin, last = open_.pop(node)
        found.setdefault(node, []).append((begin, min([end, *(off for name, off in power_offs if name == node and off >= last)])))

    last_seen = {}
    for sample in samples:
        node, at = sample["node"], sample["at"]
        before = last_seen.get(node)
        if node in open_ and (sample["boot"] != before["boot"] or at - before["at"] > silence_s):
            close(node, before["at"])
        if test(sample):
            begin = open_[node][0] if node in open_ else at
            open_[node] = (begin, at)
        elif node in open_:
            close(node, at)
        last_seen[node] = sample
    for node in list(open_):
        close(node, last_seen[node]["at"])
    return found


def two_at_once(samples, power_offs):
    """I1, I4, I5: overlaps of the intervals in which two nodes might write."""
    spans = [(node, begin, end) for node, found in intervals(samples, may_write, power_offs).items() for begin, end in found]
    said = []
    for index, (node, begin, end) in enumerate(spans):
        for other, other_begin, other_end in spans[index + 1:]:
            overlap = min(end, other_end) - max(begin, other_begin)
            if node != other and overlap > CLOCK_SLACK_S:
                said.append(f"I1: {node} and {other} could both write for {overlap:.1f} s")
    return said


def lost_writes(entries, records, client):
    verdict = history.judge(entries, records, client)
    return [f"I3: {verdict[name]} records {name.replace('_', ' ')}" for name in ("lost", "duplicated", "foreign", "out_of_order") if verdict[name]]


def long_freezes(samples, power_offs, quorate_since):
    """I8: I/O frozen longer than the bound after everything was healed."""
    return [f"I8: I/O on {node} frozen for {end - max(begin, quorate_since):.0f} s in a healed cluster"
            for node, found in intervals(samples, frozen, power_offs).items() for begin, end in found
            if end - max(begin, quorate_since) > FROZEN_BOUND_S]


def needless_fencing(fenced, nemeses):
    """I9. `fenced`: nodes shot by their BMC during the cycle. A shot is justified by a nemesis that may cost that node its membership, or by the loss of
    both rings somewhere: who is outside then is corosync's to say."""
    rings = {path for nemesis in nemeses for path in nemesis.paths}
    if {"ring0", "ring1"} <= rings:
        return []
    excused = {nemesis.node for nemesis in nemeses if nemesis.fences}
    if any(nemesis.name == "power-cut-all" for nemesis in nemeses):
        return []
    return [f"I9: {node} was fenced without need" for node in sorted(set(fenced) - excused)]
