# SPDX-License-Identifier: Apache-2.0
"""The current copy is lost, an operator lets the guest start from the older one; then the lost one comes back after all."""
import time

import pytest
from holdfast_check import history
from holdfast_check.cluster import wait_for
from scenarios.test_power import place

pytestmark = pytest.mark.full
REFUSED = 9


def conditions(cluster, node):
    guest = cluster.guest(node)
    return " | ".join(guest["status"]["conditions"]) if guest else ""


def refused(cluster, node, words, text):
    result = cluster.cli(node, *words, check=False)
    assert result.returncode == REFUSED and text in result.stderr, f"{result.returncode}: {result.stderr}"


def kept(cluster, node):
    return cluster.lab.ssh(node, "lvs --noheadings -o lv_name holdfast").stdout.count("kept-demo-0-")


def test_the_older_copy_is_started_and_the_lost_one_comes_back(cluster, writing):
    home, peer, third = place(cluster)
    confirm = ["guest", "confirm", "demo", peer, "--confirm", "demo"]
    writing.wait_ok(time.monotonic())
    cluster.keep_off(peer)
    alone = writing.wait_ok(time.monotonic(), 240)
    writing.wait_ok(alone + 5, 120)  # what only the copy on home has
    refused(cluster, third, confirm, "that node does not answer")
    cluster.swap(off=home, on=peer)

    # It waits for the current copy, and people are told for which, and of the way out.
    wait_for("people are told", lambda: f"waits for {home}" in conditions(cluster, third) and
             f"holdfast guest confirm demo {peer}" in conditions(cluster, third), 120, 2)
    assert cluster.guest(third)["status"]["state"] == "waiting"
    assert cluster.running_on() == []
    entries = writing.stop()
    missing = cluster.cli(third, "guest", "confirm", "demo", peer, check=False)
    assert missing.returncode != 0 and "lost for good" in missing.stderr, missing.stderr

    # The operator's word: the guest starts from what there is, older as it is.
    cluster.cli(third, *confirm, timeout_s=120)
    cluster.wait_guest(third, on=peer, timeout_s=300)
    cluster.wait_answering(300)
    records = {(client, sequence) for _, client, sequence, _ in cluster.records()}
    acked = [entry for entry in entries if entry["op"] == "ok"]
    present = [entry for entry in acked if (writing.client, entry["seq"]) in records]
    assert 0 < len(present) < len(acked), "nothing was lost: this run proves nothing about the older copy"
    assert present == acked[:len(present)], "the older copy has gaps"

    # The lost copy comes back: nobody runs from it, and nothing is thrown away without a word.
    again = cluster.start_writer(writing.path.with_name("again.jsonl"))
    try:
        again.wait_ok(time.monotonic(), 60)
        cluster.give_power(home)
        wait_for("people are told that the copies differ", lambda: "went different ways" in conditions(cluster, third), 400, 2)
        assert cluster.running_on() == [peer]
        assert cluster.primaries() == [peer]
        again.wait_ok(time.monotonic(), 60)
        refused(cluster, third, ["guest", "discard-copy", "demo", peer, "--confirm", "demo"], "a current one")
        assert kept(cluster, home) == 0
        result = cluster.cli(third, "guest", "discard-copy", "demo", home, "--confirm", "demo", timeout_s=120)
        assert "kept-demo-0-" in result.stdout, result.stdout
        cluster.wait_guest(third, on=peer, protected=True, timeout_s=400)
        assert kept(cluster, home) == 1
        again.wait_ok(time.monotonic(), 60)
    finally:
        seen = again.stop()
    verdict = history.judge(seen, cluster.records(), again.client)
    assert verdict["acked"] > 0 and (verdict["lost"], verdict["duplicated"]) == (0, 0)
    # And then it is as good as the other: the guest moves there.
    cluster.cli(peer, "guest", "migrate", "demo", home, timeout_s=400)
    cluster.wait_guest(third, on=home, protected=True)
