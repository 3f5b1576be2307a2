# SPDX-License-Identifier: Apache-2.0
"""Two nodes and a witness: what the third voice is worth, and what its absence costs."""
import time

import pytest
from holdfast_check.cluster import wait_for
from scenarios.test_power import settle_verdict

WITNESS = "w1"
pytestmark = [pytest.mark.full, pytest.mark.base("base2")]


def place(cluster):
    """(node of the guest, the other node)"""
    home = cluster.wait_guest(cluster.names[0])["status"]["node"]
    return home, next(node for node in cluster.names if node != home)


def problems(cluster, node):
    return " | ".join(cluster.status(node)["problems"])


def wait_problem(cluster, node, text, timeout_s=120):
    wait_for(f"{node} says '{text}'", lambda: text in problems(cluster, node), timeout_s, 2)


def wait_whole(cluster, node, on, timeout_s=480):
    """Everything as at the beginning: nodes on and in sync, the witness voting, nothing to complain about."""
    wait_for("both nodes are on", lambda: sorted(cluster.alive()) == sorted(cluster.names), timeout_s, 2)
    cluster.wait_guest(node, on=on, protected=True, timeout_s=timeout_s)
    wait_for("the witness votes", lambda: (w := cluster.status(node)["witness"]) and w["voting"] and w["store"], 120, 2)


def test_power_cut_of_the_guests_node(cluster, writing):
    home, other = place(cluster)
    assert problems(cluster, other) == ""
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    cut = time.monotonic()
    back = writing.wait_ok(cut, 400)
    print(f"service back after {(back - cut) * 1000:.0f} ms (reported, not judged)")
    cluster.wait_guest(other, on=other)
    assert cluster.running_on() == [other]
    wait_problem(cluster, other, "no second chance")
    # The cluster powers the node on again; it resyncs and the guest is protected where it is.
    wait_whole(cluster, other, other)
    settle_verdict(cluster, writing)


def test_power_cut_of_the_other_node(cluster, writing):
    home, other = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    cluster.lab.power(other, "off")
    writing.wait_ok(time.monotonic() + 1, 240)
    wait_for("the loss is recorded", lambda: (g := cluster.guest(home)) and g["status"]["in_sync"] == [home], 120)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    settle_verdict(cluster, writing)


def test_witness_off_and_on(cluster, writing):
    """Nothing happens to the guest; the status says what is missing, and a lost replication link is survived without the witness."""
    home, other = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    cluster.lab.power(WITNESS, "off")
    wait_problem(cluster, home, "no second chance")
    assert not cluster.guest(home)["status"]["protected"]
    writing.wait_ok(time.monotonic(), 60)
    cluster.lab.cut(other, "ring1")
    wait_for("the loss is recorded", lambda: (g := cluster.guest(home)) and g["status"]["in_sync"] == [home], 120)
    writing.wait_ok(time.monotonic(), 60)
    cluster.lab.heal(other, "ring1")
    cluster.lab.power(WITNESS, "on")
    wait_whole(cluster, home, home)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    settle_verdict(cluster, writing)


def test_witness_off_then_the_other_node_off(cluster, writing):
    """No majority is left: no write is acknowledged that a returning node could miss, nothing is guessed; with the other node back it goes on."""
    home, other = place(cluster)
    cluster.lab.power(WITNESS, "off")
    wait_problem(cluster, home, "no second chance")
    writing.wait_ok(time.monotonic(), 60)
    cluster.lab.power(other, "off")
    wait_for(f"{home} has no quorum", lambda: not cluster.status(home)["quorate"], 120, 2)
    assert len(cluster.primaries()) <= 1
    cluster.lab.power(other, "on")
    wait_for("a majority again", lambda: cluster.status(home)["quorate"], 300, 2)
    writing.wait_ok(time.monotonic(), 480)
    cluster.lab.power(WITNESS, "on")
    wait_whole(cluster, home, cluster.guest(home)["status"]["node"])
    settle_verdict(cluster, writing)


def test_everything_off_and_on(cluster, writing):
    """Total power loss: any two of the three are enough to go on."""
    home, other = place(cluster)
    for machine in (home, other, WITNESS):
        cluster.lab.power(machine, "off")
    for machine in (home, other):
        cluster.lab.power(machine, "on")
    cluster.wait_guest(home, timeout_s=600)
    writing.wait_ok(time.monotonic(), 400)
    cluster.lab.power(WITNESS, "on")
    wait_whole(cluster, home, cluster.guest(home)["status"]["node"])
    settle_verdict(cluster, writing)


def test_witness_removed_and_back(cluster, writing):
    """Online: corosync changes to two_node and back to the witness's vote while the guest goes on writing."""
    home, other = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    cluster.cli(home, "node", "remove", WITNESS)
    wait_problem(cluster, other, "two nodes without a witness")
    for node in cluster.names:
        wait_for(f"{node} counts without it", lambda n=node: "2Node" in cluster.lab.ssh(n, "corosync-quorumtool -s", check=False).stdout, 60, 2)
    assert not cluster.guest(home)["status"]["protected"]
    token = cluster.json(home, "token", "create")["token"]
    cluster.lab.ssh(WITNESS, "systemctl stop holdfast-etcd corosync-qnetd; rm -rf /etc/holdfast/witness.json /etc/holdfast/setup.json "
                             "/var/lib/holdfast/etcd/member")
    address = cluster.lab.status()["nodes"][0]["ring0"]
    ring0 = next(node["ring0"] for node in cluster.lab.status()["nodes"] if node["name"] == WITNESS)
    cluster.lab.ssh(WITNESS, f"holdfast join --role witness --address {address} --token {token} --node {WITNESS} --ring0 {ring0}",
                    timeout_s=300)
    wait_whole(cluster, home, home)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    settle_verdict(cluster, writing)
