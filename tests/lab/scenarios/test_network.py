# SPDX-License-Identifier: Apache-2.0
"""Guests' networks: a network with a VLAN tag."""
import pathlib
import subprocess
import sys

import pytest
from holdfast_check import tags
from holdfast_check.cluster import GUEST_ADDRESS, GUEST_PORT, wait_for
from holdfast_lab import addresses

TAG = 100


def ask_from(cluster, node):
    """What the recorder on the VLAN says to a node without the guest, which has an address on its own bridge of that network."""
    ask = f"exec 3<>/dev/tcp/{GUEST_ADDRESS}/{GUEST_PORT} && echo I >&3 && head -1 <&3"
    return cluster.lab.ssh(node, f"timeout 20 bash -c '{ask}'", check=False).stdout


class Tags:
    """Watches what the host's side of a node's lan interface carries from one MAC."""

    def __init__(self, cluster, node, mac, seconds):
        tap = addresses.tap("lan", cluster.lab.state.node(node)["number"])
        self.process = subprocess.Popen(cluster.lab.network.enter(sys.executable, pathlib.Path(tags.__file__), tap, mac, seconds),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def stop(self):
        self.process.terminate()
        return {int(line) for line in self.process.communicate(timeout=20)[0].split()}


@pytest.mark.full
def test_a_vlan_is_tagged_on_the_wire_and_apart_from_the_untagged_network(cluster):
    """Two guests with one address, one on `lan`, one on a VLAN of the same interface: each is reached on its own network only, before and after
    a live migration, and no frame of the second is on the wire without its tag."""
    node = cluster.names[0]
    cluster.cli(node, "network", "create", "vlan100", "--interface", "lan0", "--vlan", str(TAG))
    cluster.cli(node, "guest", "create", "tagged", "--memory", "128", "--image", "demo", "--network", "vlan100", timeout_s=400)
    guest = cluster.wait_guest(node, name="tagged", protected=True, timeout_s=300)
    client = next(name for name in cluster.names if name not in guest["nodes"])
    watched = Tags(cluster, client, guest["spec"]["nics"][0]["mac"], 600)
    try:
        cluster.lab.ssh(client, "ip address add 10.77.2.253/24 dev hf-vlan100")
        here = cluster.ask_guest("I").split()[1]
        there = wait_for("the guest on the VLAN answers", lambda: ask_from(cluster, client), 240).split()[1]
        assert there != here, "both networks reach the same guest"

        source = guest["status"]["node"]
        target = next(name for name in guest["nodes"] if name != source)
        cluster.cli(source, "guest", "migrate", "tagged", target, timeout_s=300)
        cluster.wait_guest(target, name="tagged", on=target)
        assert wait_for("it answers where it is now", lambda: ask_from(cluster, client), 120).split()[1] == there, "it was restarted instead of moved"
        assert cluster.ask_guest("I").split()[1] == here
    finally:
        seen = watched.stop()
    assert seen == {TAG}, f"tags on the wire: {seen}"

    refused = cluster.cli(node, "network", "delete", "vlan100", check=False)
    assert refused.returncode != 0 and "used by guest 'tagged'" in refused.stderr
    bad = cluster.cli(node, "network", "create", "bad", "--interface", "lan0", "--vlan", "4095", check=False)
    assert bad.returncode == 2 and "vlan" in bad.stderr
