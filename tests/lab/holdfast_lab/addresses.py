# SPDX-License-Identifier: Apache-2.0
"""Names, addresses and MACs of the lab: pure functions of a node's number (1..99)."""

NETWORKS = ("ring0", "ring1", "lan")
SUBNET = {"ring0": "10.77.0", "ring1": "10.77.1", "lan": "10.77.2"}
INTERFACE = {"ring0": "ring0", "ring1": "ring1", "lan": "lan0"}     # inside the node
MOST_NODES = 16
WITNESS = 90                                                        # the number of the machine that is no node


def node_name(number):
    return "w1" if number == WITNESS else f"n{number}"


def address(network, number):
    return f"{SUBNET[network]}.{number}"


def host_address(network):
    return f"{SUBNET[network]}.254"


def bmc_address(number):
    return address("ring0", 100 + number)


def mac(network, number):
    return f"52:54:00:77:{NETWORKS.index(network):02x}:{number:02x}"


def tap(network, number):
    return f"{node_name(number)}-{network}"


def bridge(network):
    return f"br-{network}"
