# SPDX-License-Identifier: Apache-2.0
"""Cut links: row 3 of the scenario table (replication only) and an isolated node (row 5)."""
import time

from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict


def test_row_3_replication_link_lost(cluster, writing):
    """The peer's replica is outdated by agreement, the guest goes on, no node is shot; after healing both are in sync again."""
    home, peer, _ = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    cluster.lab.cut(peer, "ring1")
    wait_for("the loss is recorded", lambda: (g := cluster.guest(home)) and g["status"]["in_sync"] == [home], 120)
    writing.wait_ok(time.monotonic(), 60)
    cluster.lab.heal(peer, "ring1")
    cluster.wait_guest(home, on=home, protected=True, timeout_s=240)
    assert cluster.ask_guest("I").split()[1] == boot
    assert sorted(cluster.alive()) == sorted(cluster.names), "a node was shot without need"
    settle_verdict(cluster, writing)


def test_row_5_the_guests_node_is_isolated(cluster, writing):
    """Its frozen writes were never acknowledged; it is fenced, and the guest starts on the replica that is in sync."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    for network in ("ring0", "ring1"):
        cluster.lab.cut(home, network, hard=True)
    cluster.wait_guest(third, on=peer, timeout_s=300)
    for network in ("ring0", "ring1"):
        cluster.lab.heal(home, network)
    writing.wait_ok(time.monotonic(), 240)
    settle_verdict(cluster, writing)
