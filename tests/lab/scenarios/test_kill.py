# SPDX-License-Identifier: Apache-2.0
"""kill -9 of every process that could die: guests go on, or come back, and nothing acknowledged is lost."""
import time

import pytest
from holdfast_check import history
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict


def kill(cluster, node, unit):
    """SIGKILL the unit's main process; systemd brings it back."""
    before = cluster.lab.ssh(node, f"systemctl show -p MainPID --value {unit}").stdout.strip()
    assert before not in ("", "0"), f"{unit} does not run on {node}"
    cluster.lab.ssh(node, f"kill -9 {before}")

    def again():
        now = cluster.lab.ssh(node, f"systemctl show -p MainPID --value {unit}", check=False).stdout.strip()
        return now not in ("", "0", before)
    wait_for(f"{unit} runs again on {node}", again, 120)


def store_member_answers(cluster, node):
    """The node's own etcd, asked by etcd's own client."""
    return cluster.lab.ssh(node, "ETCDCTL_API=3 etcdctl --endpoints unix:///run/holdfast-etcd/etcd.sock:0 endpoint health 2>&1",
                           timeout_s=30, check=False).stdout.count("is healthy") == 1


def test_kill_of_daemons_leaves_the_guest_alone(cluster, writing):
    home, _, _ = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    for unit in ("holdfastd", "holdfast-api", "holdfast-etcd"):
        kill(cluster, home, unit)
        writing.wait_ok(time.monotonic())
    cluster.wait_guest(home, on=home, protected=True, timeout_s=180)
    wait_for("the store's member answers again", lambda: store_member_answers(cluster, home), 120)
    assert history.failed(writing.history()) == 0, "a client noticed a daemon's death"
    assert cluster.ask_guest("I").split()[1] == boot
    settle_verdict(cluster, writing)


def test_kill_of_the_vmm_restarts_the_guest_once(cluster, writing):
    home, _, _ = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.ssh(home, "systemctl kill -s KILL holdfast-guest@demo.service")
    writing.wait_ok(time.monotonic() + 1, 240)
    cluster.wait_guest(home)
    settle_verdict(cluster, writing)


@pytest.mark.parametrize("unit", ["pacemaker", "corosync"])
def test_kill_of_the_cluster_stack(cluster, writing, unit):
    """pacemakerd comes back by itself; a node whose corosync died is fenced or recovers. Either way the guest runs once and loses nothing."""
    home, _, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.ssh(home, f"kill -9 $(systemctl show -p MainPID --value {unit})")
    time.sleep(2)  # not a measurement: lets the client's next write fall after the kill
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, timeout_s=300)
    settle_verdict(cluster, writing)
