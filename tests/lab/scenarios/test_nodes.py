# SPDX-License-Identifier: Apache-2.0
"""Nodes come and go while guests run."""
import time

import pytest
from holdfast_check import history
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict

REFUSED = 9


def refused(cluster, node, name, text):
    result = cluster.cli(node, "node", "remove", name, check=False)
    assert result.returncode == REFUSED and text in result.stderr, f"{result.returncode}: {result.stderr}"


@pytest.mark.full
def test_a_node_is_removed_and_a_new_machine_joins_in_its_place(cluster, writing):
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    refused(cluster, home, home, "cannot remove itself")
    refused(cluster, home, peer, "holds replicas of demo")
    refused(cluster, home, third, "is online: shut it down first")

    cluster.lab.ssh(third, "systemctl --no-block poweroff", check=False)
    wait_for(f"{third} off", lambda: third not in cluster.alive(), 180, 2)
    wait_for(f"{third} not online", lambda: not next(node for node in cluster.status(home)["nodes"] if node["name"] == third)["online"], 120, 1)
    cluster.cli(home, "node", "remove", third, timeout_s=120)
    assert sorted(node["name"] for node in cluster.status(peer)["nodes"]) == sorted([home, peer])
    writing.wait_ok(time.monotonic())
    # Two nodes are left and both hold the guest: neither can go.
    refused(cluster, home, peer, "holds replicas of demo")
    wait_for(f"Pacemaker has forgotten {third}", lambda: third not in cluster.lab.ssh(home, "crm_mon -1").stdout, 60, 2)

    cluster.lab.reinstall(third, cluster.json(home, "token", "create")["token"])
    cluster.lab.wait(third, 300)
    cluster.lab.wait_cluster(300)
    node = next(node for node in cluster.status(home)["nodes"] if node["name"] == third)
    assert node["fencing"]["state"] == "unproven", "a new machine's fencing is not believed unseen"
    cluster.cli(home, "fence", "prove", third, "--wait", timeout_s=600)
    cluster.wait_guest(home, on=home, protected=True, timeout_s=300)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    assert history.failed(writing.history()) == 0, "the client noticed"
    settle_verdict(cluster, writing)
