# SPDX-License-Identifier: Apache-2.0
"""Saved states: the whole running cluster, memory and disks, as of one moment.

build/lab/saved/NAME holds one memory file and seed per node, the ssh key, and manifest.json with the disk chains. The
disk layers themselves stay in the layer store: saving puts a fresh layer on top of every disk, so that the one below,
which belongs to the save from then on, never changes again. Restoring puts another fresh layer on it."""

import contextlib
import json
import shutil
import time

from . import process
from .errors import LabError
from .qmp import Qmp

VERSION = 1
MEMORY_DEADLINE_S = 180


def load(folder):
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        raise LabError(f"no saved state '{folder.name}' in {folder.parent}: 'lab saves' lists them") from None
    if manifest.get("version") != VERSION:
        raise LabError(f"saved state '{folder.name}' has version {manifest.get('version')}, this program reads "
                       f"{VERSION}: save it again")
    return manifest


def check_image(folder, manifest, current_sha256):
    saved = manifest["image"]["sha256"]
    if current_sha256 != saved:
        raise LabError(f"saved state '{folder.name}' was made with another appliance image (saved {saved[:12]}, "
                       f"now {current_sha256[:12]}): testing it would test the old program. Bring a cluster up with "
                       "the new image and save again, or restore with --old-image")


def save(lab, state, layers, folder):
    """Write the saved state of all nodes to folder, in the place of what was there. The nodes are stopped meanwhile
    and go on together; when anything fails they go on too, and folder is as it was."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, partial, ignore_errors=True)
        monitors = {}
        for name in state.names:
            if not process.recorded(lab.node(name).qemu):
                raise LabError(f"{name} is powered off: only a lab with all nodes running can be saved")
            monitors[name] = stack.enter_context(Qmp(lab.node(name).qmp_socket))
        chains = {node["name"]: {disk: list(chain) for disk, chain in node["disks"].items()} for node in state.nodes}
        _prepare_layers(state, layers)
        try:
            for monitor in monitors.values():
                monitor("stop")
            _switch_layers(state, layers, monitors)
            _write_memory(partial, monitors)
        finally:
            for monitor in monitors.values():
                monitor("cont")
        for chain in (chain for disks in chains.values() for chain in disks.values()):
            layers.freeze(chain[-1])
        _write_manifest(lab, state, partial, chains)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def _prepare_layers(state, layers):
    """Name the next layers in the state before their files exist, and create them before any node is stopped. A node
    whose power is cut in between starts from the new, empty layer: the same content."""
    for node in state.nodes:
        for disk, chain in node["disks"].items():
            chain.append(layers.new_name(node["name"], disk))
    state.write()
    for node in state.nodes:
        for chain in node["disks"].values():
            layers.create(chain)


def _switch_layers(state, layers, monitors):
    # Before the memory is written: a finished migration takes the disks away from this QEMU.
    for node in state.nodes:
        actions = [{"type": "blockdev-snapshot-sync",
                    "data": {"device": disk, "snapshot-file": str(layers.path(chain[-1])), "format": "qcow2",
                             "mode": "existing"}} for disk, chain in sorted(node["disks"].items())]
        monitors[node["name"]]("transaction", actions=actions)


def _write_memory(folder, monitors):
    deadline = time.monotonic() + MEMORY_DEADLINE_S
    for name, monitor in monitors.items():
        monitor("migrate-set-parameters", **{"max-bandwidth": 10 ** 11})
        monitor("migrate", uri=f"exec:cat >'{folder / (name + '.memory')}'")
    for monitor in monitors.values():
        monitor.wait_migrated(deadline)


def _write_manifest(lab, state, folder, chains):
    for name in state.names:
        shutil.copyfile(lab.node(name).seed, folder / f"{name}.seed")
    for key in (lab.key, lab.key.with_suffix(".pub")):
        shutil.copy(key, folder / key.name)
    nodes = [{"name": node["name"], "number": node["number"], "disks": chains[node["name"]]} for node in state.nodes]
    (folder / "manifest.json").write_text(json.dumps(
        {"version": VERSION, "saved_at": time.time(), "memory_mib": state.content["memory_mib"],
         "image": state.content["image"], "nodes": nodes}, indent=1) + "\n")


def resume(lab, state):
    """Let all nodes go on together once each has its memory back."""
    deadline = time.monotonic() + MEMORY_DEADLINE_S
    with contextlib.ExitStack() as stack:
        monitors = [stack.enter_context(Qmp(lab.node(name).qmp_socket)) for name in state.names]
        for monitor in monitors:
            monitor.wait_loaded(deadline)
        for monitor in monitors:
            monitor("cont")
