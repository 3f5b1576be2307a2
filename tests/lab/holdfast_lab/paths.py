# SPDX-License-Identifier: Apache-2.0
"""Where everything of one lab lives."""

import hashlib
import os
import pathlib
import re

from .errors import LabError

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
RESERVED = ("saved", "layers")


class LabPaths:
    """Folders and names of the lab `name`. Sockets live under /run: their paths must be shorter than 108 bytes."""

    def __init__(self, name=None, root=None):
        self.name = name or os.environ.get("HOLDFAST_LAB") or "default"
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,23}", self.name) or self.name in RESERVED:
            raise LabError(f"lab name '{self.name}' (HOLDFAST_LAB): must be 1 to 24 of a-z, 0-9 and '-', "
                           f"and not one of {', '.join(RESERVED)}")
        self.root = pathlib.Path(root or os.environ.get("HOLDFAST_LAB_ROOT") or REPOSITORY / "build" / "lab")
        self.folder = self.root / self.name
        self.layers = self.root / "layers"
        self.saved = self.root / "saved"
        # Two checkouts may each have a lab 'default': the folder's hash keeps their namespaces apart.
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]
        self.namespace = f"holdfast-{self.name}-{digest}"
        self.run = pathlib.Path("/run/holdfast-lab") / f"{self.name}-{digest}"
        self.state = self.folder / "state.json"
        self.events = self.folder / "events.jsonl"
        self.lock = self.root / f"{self.name}.lock"
        self.key = self.folder / "id_ed25519"

    def node(self, name):
        return NodePaths(self, name)

    def save(self, name):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise LabError(f"name of a saved state '{name}': must be letters, digits, '.', '_' and '-'")
        return self.saved / name


class NodePaths:
    def __init__(self, lab, name):
        self.folder = lab.folder / "nodes" / name
        self.lock = self.folder / "lock"
        self.qemu = self.folder / "qemu.pid"
        self.bmc = self.folder / "bmc.pid"
        self.seed = self.folder / "seed.img"
        self.serial_log = self.folder / "serial.log"
        self.qmp_socket = lab.run / f"{name}.qmp"
        self.serial_socket = lab.run / f"{name}.serial"
        self.ssh_socket = lab.run / f"{name}.ssh"
