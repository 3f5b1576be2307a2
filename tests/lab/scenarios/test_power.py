# SPDX-License-Identifier: Apache-2.0
"""Power cuts: the guest comes back once, elsewhere, with every acknowledged write; nobody is disturbed without need."""
import time

from holdfast_check import history
from holdfast_check.cluster import wait_for


def settle_verdict(cluster, writing):
    """Stop the client and judge: no acknowledged write lost, none twice, and exactly one VMM and one Primary in the cluster."""
    entries = writing.stop()
    verdict = history.judge(entries, cluster.records(), writing.client)
    assert verdict["acked"] > 0
    assert {name: verdict[name] for name in ("lost", "duplicated", "foreign", "out_of_order")} == \
        {"lost": 0, "duplicated": 0, "foreign": 0, "out_of_order": 0}
    assert len(cluster.running_on()) == 1
    assert len(cluster.primaries()) == 1
    return verdict


def place(cluster):
    """(node of the guest, its peer, the third node)"""
    guest = cluster.wait_guest(cluster.names[0])
    home = guest["status"]["node"]
    peer = next(node for node in guest["nodes"] if node != home)
    return home, peer, next(node for node in cluster.names if node not in (home, peer))


def assert_comes_back(cluster, writing, home, peer, third):
    """The copy on peer is as good as the other: home loses power, the guest comes back there with every acknowledged write."""
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, on=peer)
    settle_verdict(cluster, writing)


def move_dc_from(cluster, node, others):
    """Have one of `others` be the DC: an election, by restarting Pacemaker's controller on the present DC."""
    cluster.lab.ssh(node, "pkill -9 -x pacemaker-contr", check=False)
    return wait_for(f"a DC among {others}", lambda: (dc := cluster.dc(others[0])) in others and dc, 180, 2)


def test_power_cut_of_the_guests_node_while_another_is_dc_and_its_return(cluster, writing):
    home, peer, third = place(cluster)
    if cluster.dc(third) == home:
        cluster.cli(home, "guest", "migrate", "demo", peer)
        home, peer = peer, home
    assert cluster.dc(third) != home
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    cut = time.monotonic()
    back = writing.wait_ok(cut, 400)
    print(f"service back after {(back - cut) * 1000:.0f} ms (reported, not judged)")
    cluster.wait_guest(peer, on=peer)
    assert cluster.running_on() == [peer]
    # The fenced node is powered on again by the cluster itself, resyncs, and the guest is protected again where it is.
    wait_for(f"{home} to be powered on again", lambda: home in cluster.alive(), 300, 2)
    cluster.wait_guest(peer, on=peer, protected=True, timeout_s=420)
    settle_verdict(cluster, writing)


def test_power_cut_of_the_guests_node_while_it_is_dc(cluster, writing):
    home, peer, third = place(cluster)
    dc = cluster.dc(third)
    if dc == third:
        dc = move_dc_from(cluster, third, [home, peer])
    if dc == peer:
        cluster.cli(home, "guest", "migrate", "demo", peer)
        home, peer = peer, home
    assert cluster.dc(third) == home
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(peer, on=peer)
    settle_verdict(cluster, writing)


def test_power_cut_of_the_other_replicas_node(cluster, writing):
    home, peer, _ = place(cluster)
    boot_before = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    cluster.lab.power(peer, "off")
    writing.wait_ok(time.monotonic(), 120)
    guest = wait_for("the loss is recorded", lambda: (g := cluster.guest(home)) and g["status"]["in_sync"] == [home] and g, 60)
    assert guest["status"]["node"] == home
    assert cluster.ask_guest("I").split()[1] == boot_before, "the guest was restarted"
    settle_verdict(cluster, writing)
