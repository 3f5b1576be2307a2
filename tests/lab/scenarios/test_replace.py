# SPDX-License-Identifier: Apache-2.0
"""A replica is built anew on another node: because its node is gone for good, because the node itself is given up, and through everything that can
die meanwhile."""
import json
import time

import pytest
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict
from scenarios.test_rows import in_sync, stays
from scenarios.test_volumes import wait_operation

pytestmark = pytest.mark.full

INVALID, REFUSED = 2, 9


def refused(cluster, node, words, code, text):
    result = cluster.cli(node, *words, check=False)
    assert result.returncode == code and text in result.stderr, f"{words}: {result.returncode}: {result.stderr}"


def begin(cluster, through, home, peer, third):
    """Its node stays off; the replica is to be built on the third one. The operation's id."""
    cluster.keep_off(peer)
    wait_for("the loss is recorded", lambda: in_sync(cluster, through) == [home], 180)
    identity = cluster.cli(through, "guest", "replace-replica", "demo", "--from", peer, "--no-wait").stdout.strip()
    wait_for("the guest's nodes to change", lambda: (g := cluster.guest(through)) and sorted(g["nodes"]) == sorted([home, third]), 60)
    return identity


def disk_options(cluster, node, options):
    """Of every DRBD device there; how many there are."""
    minors = cluster.lab.ssh(node, "sed -n 's/^ *\\([0-9]*\\): cs:.* ds:.*/\\1/p' /proc/drbd").stdout.split()
    for minor in minors:
        cluster.lab.ssh(node, f"/lib/drbd/drbdsetup-84 disk-options {minor} {options}")
    return len(minors)


def what_is_left(cluster, node):
    """Volumes, DRBD devices and manifest of the guest on that node."""
    script = "lvs --noheadings -o lv_name holdfast | grep -o 'hf-demo-[0-9]*'; /lib/drbd/drbdsetup-84 show 2>/dev/null | grep -o 'resource hf-demo'; " \
             "ls /var/lib/holdfast/guests | grep demo.json; dmsetup ls | grep -o 'hfgate-demo-[0-9]*'"
    return cluster.lab.ssh(node, script, check=False).stdout.split("\n")[:-1]


def test_the_other_replicas_node_is_gone_and_comes_back_later(cluster, writing):
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    # While the old one is in sync it is said what it would cost; and what makes no sense is refused.
    refused(cluster, third, ["guest", "replace-replica", "demo", "--from", peer], REFUSED, "--unprotected does that")
    refused(cluster, third, ["guest", "replace-replica", "demo", "--from", third], INVALID, f"has no replica on '{third}'")
    refused(cluster, third, ["guest", "replace-replica", "demo", "--from", home], REFUSED, f"does not run on {peer}")
    refused(cluster, home, ["node", "remove", peer, "--gone"], REFUSED, "is online")

    operation = wait_operation(cluster, third, begin(cluster, third, home, peer, third), 900)
    assert operation["state"] == "succeeded", operation
    print(f"rebuilt in {operation['duration_ms']} ms (reported, not judged)")
    assert operation["done"] == operation["total"] > 0, operation
    assert in_sync(cluster, home) == sorted([home, third])
    assert cluster.guest(home)["joining"] is None
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    assert "UpToDate/UpToDate" in cluster.lab.ssh(third, "cat /proc/drbd").stdout
    writing.wait_ok(time.monotonic(), 60)

    # The old node returns with its old replica: nothing starts or connects there, and it cleans up.
    cluster.give_power(peer)
    wait_for(f"{peer} to be back", lambda: cluster.node_state(third, peer) == "online", 300, 2)
    wait_for(f"{peer} to be clean", lambda: not what_is_left(cluster, peer), 180, 2)
    assert cluster.running_on() == [home]
    assert in_sync(cluster, third) == sorted([home, third])
    cluster.wait_guest(third, on=home, protected=True, timeout_s=420)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"

    # What was built is worth what it should be.
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(peer, on=third)
    assert cluster.running_on() == [third]
    settle_verdict(cluster, writing)


def test_a_node_that_is_gone_for_good_is_removed(cluster, writing):
    home, peer, third = place(cluster)
    if peer == cluster.names[0]:  # the machine that cannot be reinstalled
        cluster.cli(third, "guest", "migrate", "demo", peer)
        home, peer = peer, home
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    # A guest whose only replica will be on the node that is gone: beside demo, and home has less room.
    cluster.lab.ssh(home, "lvcreate -y -n ballast -V 256m --thinpool pool holdfast && "
                          "dd if=/dev/urandom of=/dev/holdfast/ballast bs=1M count=200 oflag=direct", timeout_s=300)

    def pool_used(name):
        return next(n for n in cluster.status(third)["nodes"] if n["name"] == name)["status"]["pool_used_permille"]
    wait_for("the ballast to be reported", lambda: pool_used(home) > pool_used(peer), 90)
    cluster.cli(home, "guest", "create", "single", "--memory", "64", "--size", "8", "--replicas", "1", "--stopped", "--keep-together", "demo",
                timeout_s=240)
    assert cluster.guest(home, "single")["nodes"] == [peer]
    cluster.keep_off(peer)
    wait_for("the loss is recorded", lambda: in_sync(cluster, home) == [home], 180)
    # It is named, and nothing is given up before that is decided.
    refused(cluster, home, ["node", "remove", peer, "--gone"], REFUSED, f"guest 'single': its only current copy is on {peer}")
    assert sorted(cluster.guest(home)["nodes"]) == sorted([home, peer])
    cluster.cli(home, "guest", "delete", "single", "--no-wait")

    identity = cluster.cli(third, "node", "remove", peer, "--gone", "--no-wait").stdout.strip()
    operation = wait_operation(cluster, third, identity, 900)
    assert operation["state"] == "succeeded", operation
    assert sorted(node["name"] for node in cluster.status(home)["nodes"]) == sorted([home, third])
    assert sorted(cluster.guest(home)["nodes"]) == sorted([home, third])
    assert in_sync(cluster, third) == sorted([home, third])
    wait_for("the deleted guest to be gone", lambda: cluster.cli(home, "guest", "show", "single", check=False).returncode == 3, 120, 1)
    replaced = [op for op in cluster.json(home, "op", "list") if op["kind"] == "guest.replace_replica"]
    assert [(op["target"], op["state"]) for op in replaced] == [("guest/demo", "succeeded")], replaced
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    writing.wait_ok(time.monotonic(), 60)

    # A new machine in its place: three voices again, so one of them may fail.
    cluster.lab.heal(peer, "bmc")
    cluster.lab.reinstall(peer, cluster.json(home, "token", "create")["token"])
    cluster.lab.wait(peer, 300)
    cluster.lab.wait_cluster(300)
    cluster.cli(home, "fence", "prove", peer, "--wait", timeout_s=600)
    cluster.wait_guest(home, on=home, protected=True, timeout_s=300)
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, on=third)
    settle_verdict(cluster, writing)


def test_a_replacement_outlives_every_holdfastd_and_a_power_cut_of_its_source(cluster, writing):
    """The half-built copy never starts; what was begun is ended when the guest is back."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    # Slow enough to be caught in the middle; the target of a resync sets its pace, so it must not connect before that is set.
    cluster.lab.ssh(third, "nft 'add table inet hold; add chain inet hold i { type filter hook input priority 0; }; "
                           "add rule inet hold i tcp dport 7800-11800 drop; add rule inet hold i tcp sport 7800-11800 drop'")
    identity = begin(cluster, third, home, peer, third)
    wait_for("the new volumes to be there", lambda: "ds:Inconsistent" in cluster.lab.ssh(third, "cat /proc/drbd").stdout, 120, 1)
    assert disk_options(cluster, third, "--c-plan-ahead=0 --resync-rate=200k") > 0
    writing.wait_ok(time.monotonic(), 60)
    cluster.lab.ssh(third, "nft delete table inet hold")
    wait_for("the copying to be under way", lambda: "SyncTarget" in cluster.lab.ssh(third, "cat /proc/drbd").stdout, 120, 1)
    for node in (home, third):
        cluster.lab.ssh(node, "kill -9 $(systemctl show -p MainPID --value holdfastd)")
    writing.wait_ok(time.monotonic(), 60)

    def shown():
        result = cluster.cli(third, "op", "show", identity, "--json", check=False)
        operation = json.loads(result.stdout) if result.returncode == 0 else {}
        return "resync" in operation.get("stage", "") and operation
    assert wait_for("progress to be shown", shown, 180)["state"] == "running"
    assert in_sync(cluster, third) == [home]

    # Of three nodes two are off now: the third has no quorum, and no copy to start from either.
    cluster.lab.power(home, "off")
    stays("the half-built copy is not started", lambda: third not in cluster.running_on() and third not in cluster.primaries(), 45)
    if home not in cluster.alive():
        cluster.lab.power(home, "on")
    cluster.lab.wait(third, 300)  # without quorum its watchdog may have reset it
    disk_options(cluster, third, "--c-plan-ahead=20")
    writing.wait_ok(time.monotonic(), 600)
    operation = wait_operation(cluster, home, identity, 1200)
    assert operation["state"] == "succeeded", operation
    assert in_sync(cluster, home) == sorted([home, third])
    cluster.give_power(peer)
    wait_for(f"{peer} to be clean", lambda: cluster.node_state(third, peer) == "online" and not what_is_left(cluster, peer), 400, 2)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=420)
    settle_verdict(cluster, writing)
