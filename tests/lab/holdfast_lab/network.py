# SPDX-License-Identifier: Apache-2.0
"""A network namespace with three bridges, a tap per node and network, and rules that cut a node off.

Nothing outside the namespace is touched. A cut drops packets at the tap, in both directions or one, so the
node's link stays up, as with a broken switch (the harder case for a cluster than a link that reports down).
The nftables rules are the only record of what is cut. A namespace also collects every process started in
it: `ip netns pids` finds them all, whatever state the lab program was killed in."""

import json
import os
import signal
import time

from . import addresses
from .errors import LabError
from .run import run

TABLE = "netdev lab"
BMC_TABLE = "inet lab"
HOOK = {"out": "ingress", "in": "egress"}        # seen from the host's side of the tap; names are the node's view


class Network:
    def __init__(self, namespace):
        self.namespace = namespace

    def enter(self, *argv):
        """The argument list that runs argv inside the namespace."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", "--", *(str(word) for word in argv)]

    def exists(self):
        return os.path.exists(f"/run/netns/{self.namespace}")

    def create(self, numbers):
        run("ip", "netns", "add", self.namespace)
        lines = ["link set lo up"]
        for network in addresses.NETWORKS:
            bridge = addresses.bridge(network)
            # Without snooping and with the bridge's own MAC fixed, nothing is relearned when taps come and go.
            lines += [f"link add {bridge} address 52:54:00:77:{addresses.NETWORKS.index(network):02x}:fe"
                      " type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                      f"addr add {addresses.host_address(network)}/24 dev {bridge}", f"link set {bridge} up"]
            for number in numbers:
                tap = addresses.tap(network, number)
                lines += [f"tuntap add {tap} mode tap", f"link set {tap} master {bridge} up"]
        for number in numbers:
            lines.append(f"addr add {addresses.bmc_address(number)}/24 dev {addresses.bridge('ring0')}")
        run("ip", "-n", self.namespace, "-batch", "-", text="\n".join(lines) + "\n")
        self._create_rules(numbers)

    def _create_rules(self, numbers):
        rules = [f"table {TABLE} {{"]
        for number in numbers:
            for network in addresses.NETWORKS:
                for direction, hook in HOOK.items():
                    tap = addresses.tap(network, number)
                    rules.append(f' chain {tap}-{direction} {{ type filter hook {hook} device "{tap}" priority 0;'
                                 " policy accept; }")
        rules += ["}", f"table {BMC_TABLE} {{"]
        jumps = []
        for number in numbers:
            chain = f"{addresses.node_name(number)}-bmc-in"
            rules.append(f" chain {chain} {{ }}")
            jumps.append(f"ip daddr {addresses.bmc_address(number)} udp dport 623 jump {chain};")
        rules += [f" chain input {{ type filter hook input priority 0; policy accept; {' '.join(jumps)} }}", "}"]
        self._nft("\n".join(rules) + "\n")

    def _nft(self, script):
        run(*self.enter("nft", "-f", "-"), text=script)

    def cut(self, number, network, direction="both", hard=False, percent=100):
        """Drop the node's packets on network, seen from the node: all, or that percentage by chance. Unless hard, the host's own ssh
        still passes."""
        chance = "" if percent >= 100 else f"numgen random mod 100 < {percent} "
        script = []
        for chain, way in self._chains(number, network, direction):
            table = BMC_TABLE if network == "bmc" else TABLE
            script.append(f"flush chain {table} {chain}")
            if network == "ring0" and not hard:
                script += [f"add rule {table} {chain} {match} accept" for match in _host_ssh(number, way)]
            script.append(f"add rule {table} {chain} {chance}counter drop")
        self._nft("\n".join(script) + "\n")

    def heal(self, number, network, direction="both"):
        table = BMC_TABLE if network == "bmc" else TABLE
        self._nft("".join(f"flush chain {table} {chain}\n"
                          for chain, _ in self._chains(number, network, direction)))

    @staticmethod
    def _chains(number, network, direction):
        if network == "bmc":
            if direction != "both":
                raise LabError("--direction: the network 'bmc' can only be cut in both directions")
            return [(f"{addresses.node_name(number)}-bmc-in", "in")]
        ways = ("in", "out") if direction == "both" else (direction,)
        return [(f"{addresses.tap(network, number)}-{way}", way) for way in ways]

    def cuts(self):
        """{"n1": {"ring0": "both"}, ...}: what is cut now, read back from the kernel."""
        done = run(*self.enter("nft", "-j", "list", "ruleset"))
        dropping = {item["rule"]["chain"] for item in json.loads(done.stdout)["nftables"] if "rule" in item}
        cuts = {}
        for chain in sorted(dropping - {"input"}):
            node, network, way = chain.split("-")
            before = cuts.setdefault(node, {}).get(network)
            cuts[node][network] = "both" if before or network == "bmc" else way
        return cuts

    def processes(self):
        if not self.exists():
            return []
        done = run("ip", "netns", "pids", self.namespace, check=False)
        return [int(word) for word in done.stdout.split() if int(word) != os.getpid()]

    def destroy(self, timeout_s=20):
        """End every process in the namespace and remove it. A no-op when there is none."""
        deadline = time.monotonic() + timeout_s
        while remaining := self.processes():
            if time.monotonic() > deadline:
                raise LabError(f"processes {remaining} in namespace {self.namespace} do not end after SIGKILL")
            for pid in remaining:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        if self.exists():
            run("ip", "netns", "del", self.namespace)


def _host_ssh(number, way):
    """What a soft cut lets through: the lab's own ssh into the node, and the ARP that it needs."""
    host, node = addresses.host_address("ring0"), addresses.address("ring0", number)
    if way == "in":
        return [f"ip saddr {host} ip daddr {node} tcp dport 22", f"arp saddr ip {host}"]
    return [f"ip saddr {node} ip daddr {host} tcp sport 22", f"arp daddr ip {host}"]
