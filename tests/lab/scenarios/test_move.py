# SPDX-License-Identifier: Apache-2.0
"""Moves on purpose: live migration, standby, ordered shutdown and return."""
import time

from holdfast_check import history
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict


def test_live_migration_there_and_back(cluster, writing):
    home, peer, _ = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    for source, target in ((home, peer), (peer, home)):
        operation = cluster.json(source, "guest", "migrate", "demo", target, timeout_s=300)
        print(f"{source} -> {target}: {operation['duration_ms']} ms, stood still {operation['downtime_ms']} ms")
        cluster.wait_guest(target, on=target, protected=True)
        # The source's VMM is complete and paused for ever until Pacemaker's stop there frees its memory.
        wait_for("the source's VMM to be gone", lambda: cluster.running_on() == [target], 120)
    writing.wait_ok(time.monotonic())
    entries = writing.stop()
    assert history.failed(entries) == 0, "the client noticed the migration"
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted instead of moved"
    verdict = history.judge(entries, cluster.records(), writing.client)
    assert (verdict["lost"], verdict["duplicated"], verdict["out_of_order"]) == (0, 0, 0)


def test_standby_evacuates_and_online_returns(cluster, writing):
    home, peer, _ = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    cluster.cli(peer, "node", "standby", home, timeout_s=400)
    cluster.wait_guest(peer, on=peer)
    assert next(node for node in cluster.status(peer)["nodes"] if node["name"] == home)["standby"]
    assert cluster.ask_guest("I").split()[1] == boot
    cluster.cli(peer, "node", "online", home, timeout_s=120)
    cluster.wait_guest(peer, on=peer, protected=True)
    settle_verdict(cluster, writing)


def test_ordered_shutdown_of_the_whole_cluster_and_return(cluster, writing):
    writing.wait_ok(time.monotonic())
    entries = writing.stop()
    for node in cluster.names:
        cluster.lab.ssh(node, "systemctl --no-block poweroff", check=False)
    wait_for("all nodes off", lambda: not cluster.alive(), 300, 2)
    for node in cluster.names:
        cluster.lab.power(node, "on")
    for node in cluster.names:
        cluster.lab.wait(node, 300)
    cluster.lab.wait_cluster(420)
    cluster.wait_guest(cluster.names[0], protected=True, timeout_s=300)
    cluster.wait_answering()
    verdict = history.judge(entries, cluster.records(), writing.client)
    assert verdict["acked"] > 0 and (verdict["lost"], verdict["duplicated"]) == (0, 0)
    assert len(cluster.running_on()) == 1
