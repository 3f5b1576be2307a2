# SPDX-License-Identifier: Apache-2.0
"""The store is made anew on one node, out of what that one has, while the guest runs."""
import time

import pytest
from holdfast_check import history
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict

pytestmark = pytest.mark.full
REFUSED = 9
DATA = "/var/lib/holdfast/etcd"


def cluster_name(cluster, node):
    return cluster.status(node)["cluster"]


def problems(cluster, node):
    return " | ".join(cluster.status(node)["problems"])


def confirm(cluster, node, name):
    """Held until the operator says so; then the running guest is believed and protected again."""
    wait_for("the hold is shown", lambda: "store confirm" in problems(cluster, node), 120, 2)
    cluster.cli(node, "store", "confirm", "--confirm", name)
    wait_for("nothing is held", lambda: "store confirm" not in problems(cluster, node), 60, 2)


def voters_come_back(cluster, nodes):
    for node in nodes:
        cluster.lab.ssh(node, "holdfast store rejoin", timeout_s=240)


def etcd_members(cluster, node):
    text = cluster.lab.ssh(node, "etcdctl --endpoints unix:///run/holdfast-etcd/etcd.sock:0 member list").stdout
    return [line for line in text.splitlines() if "started" in line]


def test_rescue_of_the_store_under_a_running_guest(cluster, writing):
    """Two of three voters lose their data; corosync and the guest do not notice."""
    home, peer, third = place(cluster)
    name = cluster_name(cluster, home)
    boot = cluster.ask_guest("I").split()[1]
    others_gone = f"holdfast store rescue --confirm {name} --others-gone"
    result = cluster.lab.ssh(home, others_gone, check=False)
    assert result.returncode == REFUSED and "nothing to rescue" in result.stderr
    for node in (peer, third):
        cluster.lab.ssh(node, f"holdfast store leave --confirm {name}")
    result = cluster.lab.ssh(home, "holdfast store rescue --confirm wrong --others-gone", check=False)
    assert result.returncode == REFUSED and "--confirm" in result.stderr
    writing.wait_ok(time.monotonic())
    cluster.lab.ssh(home, others_gone, timeout_s=240)
    assert "before-" in cluster.lab.ssh(home, f"ls -d {DATA}.before-*").stdout
    wait_for("the API is back", lambda: cluster.cli(home, "status", check=False).returncode == 0, 180, 2)
    confirm(cluster, home, name)
    # One voter has no second chance, whatever the guest's copies are: protected once all vote again.
    voters_come_back(cluster, (peer, third))
    cluster.wait_guest(home, on=home, protected=True, timeout_s=240)
    assert len(etcd_members(cluster, home)) == 3
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    assert history.failed(writing.history()) == 0, "the client noticed"
    settle_verdict(cluster, writing)
