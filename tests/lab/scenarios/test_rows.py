# SPDX-License-Identifier: Apache-2.0
"""The failure table (docs/FAILURE-MODEL.md), row by row, as far as other files do not hold them: rows 2 (test_power), 3 and 5 (test_links), 9 and 9b
(test_kill)."""
import time

import pytest
from holdfast_check.cluster import wait_for
from holdfast_lab.errors import LabError
from scenarios.test_power import place, settle_verdict

pytestmark = pytest.mark.full


def stays(what, test, seconds):
    """`test` holds during all of `seconds`: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert test(), f"no longer true: {what}"
        time.sleep(2)


def in_sync(cluster, through):
    guest = cluster.guest(through)
    return guest and sorted(guest["status"]["in_sync"])


def test_row_1_kernel_panic_of_the_guests_node(cluster, writing):
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    try:
        cluster.lab.ssh(home, "echo 0 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger", timeout_s=5, check=False)
    except LabError:
        pass
    writing.wait_ok(time.monotonic() + 1, 400)
    cluster.wait_guest(third, on=peer)
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=600)  # it is shot, powered on again, and resyncs
    settle_verdict(cluster, writing)


def test_row_4_both_rings_lost_replication_stays(cluster, writing):
    """Corosync's own packets only. The guest's node is outside, is shot, and the guest starts on the other replica."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.ssh(home, "nft 'add table inet t; add chain inet t i { type filter hook input priority 0; }; add rule inet t i udp dport 5405-5412 drop; "
                          "add chain inet t o { type filter hook output priority 0; }; add rule inet t o udp dport 5405-5412 drop'")
    writing.wait_ok(time.monotonic() + 30, 400)
    cluster.wait_guest(third, on=peer, timeout_s=300)
    assert cluster.running_on() == [peer]
    settle_verdict(cluster, writing)


def test_row_5b_the_other_replicas_node_is_isolated(cluster, writing):
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    for network in ("ring0", "ring1"):
        cluster.lab.cut(peer, network)
    wait_for("the loss is recorded", lambda: in_sync(cluster, home) == [home], 120)
    writing.wait_ok(time.monotonic(), 120)
    for network in ("ring0", "ring1"):
        cluster.lab.heal(peer, network)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=600)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    settle_verdict(cluster, writing)


def test_row_7_the_stale_replica_returns_first(cluster, writing):
    """It must wait for the copy that went on without it, however long."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.keep_off(peer)
    wait_for("the loss is recorded", lambda: in_sync(cluster, home) == [home], 120)
    writing.wait_ok(time.monotonic(), 120)
    cluster.swap(off=home, on=peer)
    stays("the stale copy is not started", lambda: not cluster.running_on() and in_sync(cluster, third) == [home], 60)
    cluster.give_power(home)
    writing.wait_ok(time.monotonic(), 600)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_7b_both_lost_at_once_and_only_the_other_returns(cluster, writing):
    """It was in sync and the owner is proven off: it may go on."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    cluster.lab.power(peer, "off")
    cluster.swap(off=home, on=peer)
    writing.wait_ok(time.monotonic(), 600)
    cluster.wait_guest(third, on=peer)
    assert in_sync(cluster, third) == [peer]
    cluster.give_power(home)
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_7c_all_nodes_lose_power_and_return_together(cluster, writing):
    home, _, third = place(cluster)
    writing.wait_ok(time.monotonic())
    for node in cluster.names:
        cluster.lab.power(node, "off")
    for node in cluster.names:
        cluster.lab.power(node, "on")
    writing.wait_ok(time.monotonic(), 600)
    cluster.wait_guest(third, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_8_the_fencing_device_is_dead_too(cluster, writing):
    """Its guests stay down until somebody who has seen the node says that it is off; others are not disturbed."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.cut(home, "bmc")
    cluster.lab.power(home, "off")
    wait_for(f"{home} to be lost", lambda: cluster.node_state(third, home) == "unclean", 120, 1)
    stays("no guest is started while its node may still run", lambda: not cluster.running_on(), 60)
    cluster.cli(third, "fence", "confirm", home, "--confirm", home)
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, on=peer)
    settle_verdict(cluster, writing)


def test_row_9_failover_with_every_agent_dead(cluster, writing):
    """holdfastd is down on the survivors: Pacemaker, the OCF agent and the handler do it alone."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    for node in (peer, third):
        cluster.lab.ssh(node, "systemctl stop holdfastd; systemctl is-active holdfastd", check=False)
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    assert cluster.running_on() == [peer]
    for node in (peer, third):
        cluster.lab.ssh(node, "systemctl start holdfastd")
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_13_power_cut_during_the_resync(cluster, writing):
    """The half-written copy never starts; the guest comes back with its node."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.keep_off(peer)
    wait_for("the loss is recorded", lambda: in_sync(cluster, home) == [home], 120)
    # Slow enough to be caught in the middle: the whole volume, at 200 KiB/s.
    minor = cluster.lab.ssh(home, "sed -n 's/^ *\\([0-9]*\\): cs:.*/\\1/p' /proc/drbd | head -1").stdout.strip()
    cluster.give_power(peer)
    wait_for("the peer to be connected and inconsistent", lambda: (
        cluster.lab.ssh(home, f"drbdsetup-84 disk-options {minor} --c-plan-ahead=0 --resync-rate=200k", check=False),
        cluster.lab.ssh(home, f"drbdsetup-84 invalidate-remote {minor}", check=False),
        "UpToDate/Inconsistent" in cluster.lab.ssh(home, "cat /proc/drbd").stdout)[2], 300, 1)
    cluster.keep_off(home)
    stays("the half-written copy is not started", lambda: not cluster.running_on(), 60)
    cluster.give_power(home)
    writing.wait_ok(time.monotonic(), 600)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=900)
    settle_verdict(cluster, writing)


def test_row_14_the_first_to_die_returns_first(cluster, writing):
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.keep_off(home)
    writing.wait_ok(time.monotonic(), 400)
    cluster.swap(off=peer, on=home)
    stays("the old copy is not started", lambda: not cluster.running_on() and in_sync(cluster, third) == [peer], 60)
    cluster.give_power(peer)
    writing.wait_ok(time.monotonic(), 600)
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_16_a_stopped_corosync(cluster, writing):
    """Twelve seconds without a token is a dead node, whatever it does afterwards."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    cluster.lab.ssh(home, "pkill -STOP -x corosync; (sleep 25; pkill -CONT -x corosync) >/dev/null 2>&1 &")
    writing.wait_ok(time.monotonic() + 30, 400)
    cluster.wait_guest(third, protected=True, timeout_s=600)
    settle_verdict(cluster, writing)


def test_row_17_a_flap_of_both_switches(cluster, writing):
    home, _, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    for network in ("ring0", "ring1"):
        cluster.lab.cut(home, network)
    for network in ("ring0", "ring1"):
        cluster.lab.heal(home, network)
    writing.wait_ok(time.monotonic(), 120)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=300)
    assert cluster.ask_guest("I").split()[1] == boot
    assert sorted(cluster.alive()) == sorted(cluster.names), "a node was shot without need"
    settle_verdict(cluster, writing)
