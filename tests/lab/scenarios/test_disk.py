# SPDX-License-Identifier: Apache-2.0
"""A disk fails below DRBD, on either side; and a node whose own store member is gone still records the loss of its peer."""
import time

import pytest
from holdfast_check.cluster import wait_for
from scenarios.test_power import assert_comes_back, place, settle_verdict

pytestmark = pytest.mark.full

DEVICE = "holdfast-hf--demo--0"  # the thin LV under the demo guest's only volume
NOTES = "ls /var/lib/holdfast/lost-copy/demo 2>/dev/null | wc -l"


def break_disk(cluster, node):
    """Every access to the replica's LV on `node` fails from now on. Returns what mend_disk() needs."""
    table = cluster.lab.ssh(node, f"dmsetup table {DEVICE}").stdout.strip()
    set_table(cluster, node, f"0 {table.split()[1]} error")
    return table


def mend_disk(cluster, node, table):
    set_table(cluster, node, table)


def set_table(cluster, node, table):
    cluster.lab.ssh(node, f"dmsetup suspend --nolockfs --noflush {DEVICE} && dmsetup load {DEVICE} --table '{table}' && "
                          f"dmsetup resume {DEVICE}", timeout_s=60)


def notes(cluster, node):
    return int(cluster.lab.ssh(node, NOTES).stdout)


def wait_in_sync(cluster, node, names, timeout_s=120):
    return wait_for(f"only {names} in the record", lambda: (g := cluster.guest(node)) and g["status"]["in_sync"] == names and g,
                    timeout_s)


def assert_people_are_told(cluster, asked, node):
    """Status says which disk failed where, and what to do."""
    def told():
        return [text for text in cluster.status(asked)["problems"]
                if "hf-demo-0" in text and node in text and f"holdfast guest reattach demo --node {node}" in text]
    wait_for("status tells of the failed disk", told, 60)


def nobody_was_shot(cluster):
    assert sorted(cluster.alive()) == sorted(cluster.names), "a node was shot without need"


def test_disk_of_the_replica_fails_and_is_used_again(cluster, writing):
    """The guest goes on, the record loses the replica, nobody is shot. Mended and released it resyncs, and then it is as good as the other:
    the guest comes back there with every acknowledged write."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    table = break_disk(cluster, peer)
    wait_in_sync(cluster, home, [home])
    writing.wait_ok(time.monotonic(), 60)
    assert notes(cluster, peer) >= 1 and notes(cluster, home) == 0
    assert_people_are_told(cluster, home, peer)
    # Nothing tries the disk again by itself: its state stays the same over several rounds of holdfastd.
    # (A Secondary with neither disk nor connection is "Unconfigured" to DRBD.)
    seen = {cluster.lab.ssh(peer, "grep ' cs:' /proc/drbd").stdout.strip() for _ in range(8) if not time.sleep(1)}
    assert all("cs:Unconfigured" in text for text in seen), seen
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    nobody_was_shot(cluster)

    mend_disk(cluster, peer, table)
    cluster.cli(third, "guest", "reattach", "demo", "--node", peer)
    cluster.wait_guest(home, on=home, protected=True, timeout_s=240)
    assert notes(cluster, peer) == 0
    assert_comes_back(cluster, writing, home, peer, third)


def test_replica_whose_disk_failed_never_starts(cluster, writing):
    """The loss cannot be recorded (the store has no majority), so the guest freezes and the record goes on naming the replica. Then both
    nodes lose power, and the replica's returns first, its disk whole again and its record good: it must wait for the other."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    for node in (peer, third):
        cluster.lab.ssh(node, "systemctl stop holdfast-etcd")
    break_disk(cluster, peer)
    wait_for("the note on the replica's node", lambda: notes(cluster, peer) >= 1, 60)
    wait_for("the guest to freeze", lambda: " s" in cluster.lab.ssh(home, "grep -o ' [sr][-a-zA-Z]*$' /proc/drbd").stdout, 60)
    cluster.lab.power(home, "off")
    cluster.lab.power(peer, "off")
    cluster.lab.ssh(third, "systemctl start --no-block holdfast-etcd")
    cluster.lab.power(peer, "on")
    cluster.lab.wait(peer, 300)

    def refused():
        """Pacemaker tried to start it on the replica's node and was told why not; or the node's daemon says so."""
        log = cluster.lab.ssh(peer, "journalctl -b --no-pager | grep -c 'a disk failed on'", check=False).stdout.strip()
        return int(log or 0) > 0
    wait_for("the replica to be refused", refused, 300, 2)
    assert peer not in cluster.primaries()
    if home not in cluster.alive():
        cluster.lab.power(home, "on")
    cluster.wait_guest(third, on=home, timeout_s=420)
    writing.wait_ok(time.monotonic(), 240)
    # It resyncs by itself after the restart, since the record has left it out by now.
    cluster.wait_guest(third, on=home, protected=True, timeout_s=300)
    assert notes(cluster, peer) == 0
    settle_verdict(cluster, writing)


def test_disk_of_the_owner_fails(cluster, writing):
    """The guest ends up on the replica's node with every acknowledged write, the record holds only that one, nobody is shot."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    table = break_disk(cluster, home)
    cluster.wait_guest(third, on=peer, timeout_s=600)
    wait_in_sync(cluster, third, [peer])
    writing.wait_ok(time.monotonic(), 120)
    wait_for("the old VMM to be gone", lambda: cluster.running_on() == [peer], 60)
    print("moved live" if cluster.ask_guest("I").split()[1] == boot else "restarted on the other node")
    assert notes(cluster, home) >= 1
    assert_people_are_told(cluster, third, home)
    nobody_was_shot(cluster)

    mend_disk(cluster, home, table)
    cluster.cli(third, "guest", "reattach", "demo")
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=240)
    assert notes(cluster, home) == 0
    settle_verdict(cluster, writing)


def leave_one_voter(cluster, voter):
    """The store goes on with one member, on `voter`; the other nodes have none, as nodes that are no voters."""
    files = "--cacert /etc/holdfast/tls/ca.crt --cert /etc/holdfast/tls/node.crt --key /etc/holdfast/tls/node.key"
    etcdctl = f"ETCDCTL_API=3 etcdctl {files} --endpoints https://10.77.0.{cluster.names.index(voter) + 1}:2379"
    listed = cluster.lab.ssh(voter, f"{etcdctl} member list").stdout
    members = {line.split(", ")[2]: line.split(", ")[0] for line in listed.splitlines()}
    for node in cluster.names:
        if node != voter:
            cluster.lab.ssh(voter, f"{etcdctl} member remove {members[node]}", timeout_s=60)
            cluster.lab.ssh(node, "systemctl stop holdfast-etcd", timeout_s=60)
    wait_for("the store to serve with one voter",
             lambda: "is healthy" in cluster.lab.ssh(voter, f"{etcdctl} endpoint health 2>&1", check=False).stdout, 60)


def test_loss_is_recorded_where_the_store_has_no_member(cluster, writing):
    """No etcd on the guest's node: the handler records the dead peer through holdfastd, and the guest thaws with the peer still away."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    leave_one_voter(cluster, third)
    writing.wait_ok(time.monotonic(), 120)
    cluster.lab.power(peer, "off")
    cut = time.monotonic()
    wait_in_sync(cluster, home, [home])
    assert peer not in cluster.alive(), "the peer came back before the loss was recorded: this run proves nothing"
    writing.wait_ok(cut, 60)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    settle_verdict(cluster, writing)
