# SPDX-License-Identifier: Apache-2.0
"""Courses of events in which one rule alone stands between the guest's data and its loss. With the real programs each ends well; with the mutant that
lacks the rule (../mutants) the judge must say so. A course ends when the guest acknowledges writes again."""

import time


def _acknowledged_within(writing, after, seconds):
    try:
        return writing.wait_ok(after, seconds) is not None
    except AssertionError:
        return False


def stale_replica_returns(cluster, roles, writing):
    """The other replica's node dies, the guest goes on and dies, and the first to return is the stale replica (row 7)."""
    home, peer = roles["home"], roles["peer"]
    cluster.keep_off(peer)
    writing.wait_ok(time.monotonic(), 240)
    alone = time.monotonic()
    cluster.swap(off=home, on=peer)
    if not _acknowledged_within(writing, alone, 150):
        cluster.give_power(home)
        writing.wait_ok(time.monotonic(), 600)


def link_lost_and_power_cut(cluster, roles, writing):
    """The replicas lose each other while the owner's holdfastd stands still, so that DRBD's handler alone can record it; the guest goes on and dies."""
    home, peer = roles["home"], roles["peer"]
    cluster.lab.ssh(home, "pkill -STOP -x holdfastd")
    cluster.lab.cut(peer, "ring1")
    cut = time.monotonic()
    # Acknowledged without the peer: what was under way when the link went may still have reached it.
    writing.wait_ok(cut + 3.0, 240)
    cluster.keep_off(home)
    alone = time.monotonic()
    cluster.lab.heal(peer, "ring1")
    if not _acknowledged_within(writing, alone, 150):
        cluster.give_power(home)
        writing.wait_ok(time.monotonic(), 600)


def hand_over(cluster, roles, writing):
    """A live migration, and nothing else."""
    cluster.cli(roles["home"], "guest", "migrate", "demo", roles["peer"], check=False)
    writing.wait_ok(time.monotonic(), 300)
