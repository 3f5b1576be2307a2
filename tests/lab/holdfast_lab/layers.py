# SPDX-License-Identifier: Apache-2.0
"""The store of disk layers: qcow2 files, each on top of another, shared by running labs and saved states.

A disk is a list of layer names, lowest first. The lowest of a system disk is a frozen appliance image. Only the
last may be written, and only by one QEMU; whoever saves a state puts a fresh layer on top first. A layer never
moves; `collect` deletes those that no state.json and no manifest.json names any more."""

import json
import os
import pathlib
import secrets

from .errors import LabError
from .locks import locked
from .run import run


class LayerStore:
    def __init__(self, root):
        self.root = pathlib.Path(root)               # build/lab
        self.folder = self.root / "layers"
        self.lock = str(self.folder / ".lock")

    def path(self, layer):
        return self.folder / layer

    @staticmethod
    def new_name(node, disk):
        return f"{node}-{disk}-{secrets.token_hex(4)}.qcow2"

    def create(self, chain, size_bytes=None):
        """Make the file of chain's last layer. Its owner must have written chain to its state or manifest before:
        what nobody refers to is garbage."""
        layer, below = chain[-1], chain[-2] if len(chain) > 1 else None
        self.folder.mkdir(parents=True, exist_ok=True)
        backing = []
        if below:
            info = self.info(below)
            size_bytes = info["virtual-size"]
            # -u: the lower layer may be open in a QEMU; the relative name lets a checkout be moved as a whole.
            backing = ["-u", "-b", below, "-F", info["format"]]
        elif size_bytes is None:
            raise LabError(f"layer {layer}: a lowest layer needs a size")
        run("qemu-img", "create", "-q", "-f", "qcow2", *backing, self.path(layer), size_bytes)

    def info(self, layer):
        path = self.path(layer)
        if not path.exists():
            raise LabError(f"disk layer {path} is missing; remove the saved states that need it and save again")
        return json.loads(run("qemu-img", "info", "-U", "--output=json", path).stdout)

    def freeze(self, layer):
        os.chmod(self.path(layer), 0o444)

    def referenced(self):
        """All layer names that a lab or a saved state refers to."""
        names = set()
        for document in (*self.root.glob("*/state.json"), *self.root.glob("saved/*/manifest.json")):
            try:
                content = json.loads(document.read_text())
            except FileNotFoundError:
                continue
            except ValueError as error:
                raise LabError(f"{document} cannot be read ({error}); remove it to go on") from None
            names.update(content.get("image", {}).get("files", {}).values())
            for node in content.get("nodes", []):
                for chain in node["disks"].values():
                    names.update(chain)
        return names

    def collect(self):
        """Delete unreferenced layers; returns their names."""
        if not self.folder.exists():
            return []
        with locked(self.lock):
            keep = self.referenced() | {".lock"}
            garbage = sorted(set(os.listdir(self.folder)) - keep)
            for name in garbage:
                os.unlink(self.folder / name)
        return garbage
