# SPDX-License-Identifier: Apache-2.0
"""The seed disk: what makes an appliance image this node of this cluster at its first boot."""

import json
import pathlib
import secrets
import tempfile

from . import addresses, bmc
from .run import run

LABEL = "HOLDFAST-SEED"


def join_tokens(count):
    return [f"{secrets.token_hex(4)}.{secrets.token_hex(16)}" for _ in range(count)]


def answers_of_witness(tokens):
    return {"version": 1, "action": "join", "role": "witness", "cluster": "demo",
            "node": addresses.node_name(addresses.WITNESS), "ring0": addresses.address("ring0", addresses.WITNESS),
            "join": {"address": addresses.address("ring0", 1), "token": tokens[-1]}}


def answers(number, tokens):
    """The answer file of a node: the first one makes the cluster, the others join it with one token each."""
    if number == addresses.WITNESS:
        return answers_of_witness(tokens)
    document = {"version": 1, "cluster": "demo", "node": addresses.node_name(number),
                "ring0": addresses.address("ring0", number), "ring1": addresses.address("ring1", number),
                "storage_device": "/dev/vdb",
                # Emulated nodes share few cores: a token or an election that fits real servers would expire.
                "corosync": {"token_ms": 5000}, "etcd": {"heartbeat_ms": 500, "election_ms": 5000},
                "fence": {"agent": "fence_ipmilan", "parameters": bmc.fence_parameters(number)}}
    if number == 1:
        document["action"] = "init"
        document["join_tokens"] = tokens
        document["networks"] = [{"name": "lan", "interface": addresses.INTERFACE["lan"], "vlan": 0}]
    else:
        document["action"] = "join"
        document["join"] = {"address": addresses.address("ring0", 1), "token": tokens[number - 2]}
    return document


def network_files(number):
    files = {}
    for network in addresses.NETWORKS:
        interface, mac = addresses.INTERFACE[network], addresses.mac(network, number)
        files[f"10-{interface}.link"] = f"[Match]\nPermanentMACAddress={mac}\n\n[Link]\nName={interface}\n"
        # The guests' network belongs to Holdfast, which puts it under a bridge: networkd must not undo that.
        settings = ("[Link]\nUnmanaged=yes\n" if network == "lan" else
                    f"[Network]\nAddress={addresses.address(network, number)}/24\nIPv6AcceptRA=no\n"
                    "LinkLocalAddressing=no\n")
        files[f"10-{interface}.network"] = f"[Match]\nPermanentMACAddress={mac}\n\n{settings}"
    return files


def write(path, number, tokens, public_key):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        (folder / "network").mkdir()
        for file, text in network_files(number).items():
            (folder / "network" / file).write_text(text)
        (folder / "hostname").write_text(addresses.node_name(number) + "\n")
        (folder / "authorized_keys").write_text(public_key)
        (folder / "answers.json").write_text(json.dumps(answers(number, tokens), indent=1) + "\n")
        (folder / "answers.json").chmod(0o600)
        path.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-L", LABEL, "-d", folder,
            path, "4M")
