# SPDX-License-Identifier: Apache-2.0
"""Guests' networks: a network with a VLAN tag."""
import pytest


@pytest.mark.full
def test_a_vlan_is_tagged_on_the_wire_and_apart_from_the_untagged_network(cluster):
    """Two guests with one address, one on `lan`, one on VLAN 100 of the same interface: each is reached on its own network only, before and
    after a live migration. The host's interfaces on the VLANs get frames with their tag and no others."""
    node = cluster.names[0]
    tagged, other = (cluster.lab.network.add_vlan("lan", tag, "10.77.2.253/24") for tag in (100, 200))
    cluster.cli(node, "network", "create", "vlan100", "--interface", "lan0", "--vlan", "100")
    cluster.cli(node, "guest", "create", "tagged", "--memory", "128", "--image", "demo", "--network", "vlan100", timeout_s=400)
    guest = cluster.wait_guest(node, name="tagged", protected=True, timeout_s=300)
    there = cluster.wait_answering(interface=f"lan.{100}")
    here = cluster.ask_guest("I", interface="br-lan")
    assert there.split()[1] != here.split()[1], "both networks reach the same guest"
    with pytest.raises(AssertionError):
        cluster.ask_guest("I", interface=other)

    source = guest["status"]["node"]
    target = next(name for name in guest["nodes"] if name != source)
    cluster.cli(source, "guest", "migrate", "tagged", target, timeout_s=300)
    cluster.wait_guest(target, name="tagged", on=target)
    assert cluster.wait_answering(interface=tagged).split()[1] == there.split()[1], "the guest was restarted instead of moved"
    assert cluster.ask_guest("I", interface="br-lan").split()[1] == here.split()[1]

    refused = cluster.cli(node, "network", "delete", "vlan100", check=False)
    assert refused.returncode != 0 and "tagged" in refused.stderr + refused.stdout
    bad = cluster.cli(node, "network", "create", "bad", "--interface", "lan0", "--vlan", "4095", check=False)
    assert bad.returncode == 2 and "vlan" in bad.stderr
