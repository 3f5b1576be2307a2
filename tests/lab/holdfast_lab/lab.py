# SPDX-License-Identifier: Apache-2.0
"""class Lab: everything one can do to a lab. The command line is a thin layer over it; tests import it."""

import contextlib
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from . import addresses, bmc, cluster, events, image, node as nodes, power, process, saves, seed
from .errors import LabError
from .layers import LayerStore
from .locks import locked
from .network import Network
from .paths import LabPaths
from .run import require_programs, run
from .ssh import Ssh
from .state import State

DATA_DISK_BYTES = 8 << 30
ALL_NETWORKS = (*addresses.NETWORKS, "bmc")
DIRECTIONS = ("both", "in", "out")


class Lab:
    def __init__(self, name=None, root=None, progress=None):
        self.paths = LabPaths(name, root)
        self.network = Network(self.paths.namespace)
        self.layers = LayerStore(self.paths.root)
        self.ssh_client = Ssh(self.paths, self.network)
        self._image_hashes = self.paths.root / "image-hashes.json"
        self._progress = progress or (lambda text: None)
        self._started = time.monotonic()
        self._stop = threading.Event()               # set once this object's command has failed: threads give up

    # -- bookkeeping -------------------------------------------------------------------------------------

    def say(self, text):
        self._progress(f"[{time.monotonic() - self._started:6.1f} s] {text}")

    def event(self, kind, **details):
        events.append(self.paths.events, kind, **details)

    def events(self):
        return events.read(self.paths.events)

    @property
    def state(self):
        return State.load(self.paths.state)

    @contextlib.contextmanager
    def _exclusive(self):
        try:
            with locked(str(self.paths.lock), wait=False):
                yield
        except BlockingIOError:
            raise LabError(f"another command is changing the lab '{self.paths.name}': wait for it or end it") from None

    @contextlib.contextmanager
    def _node_locks(self, state):
        with contextlib.ExitStack() as stack:
            for name in state.names:
                stack.enter_context(locked(str(self.paths.node(name).lock)))
            yield

    def _each(self, state, work):
        """Run work(node) for all nodes at once; raises the first failure. An interruption does not wait for the
        others: they notice _stop, or lose the processes they wait for when the namespace is destroyed."""
        pool = ThreadPoolExecutor(max_workers=len(state.nodes))
        try:
            for future in [pool.submit(work, node) for node in state.nodes]:
                future.result()
        except BaseException:
            self._stop.set()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    # -- up and down -------------------------------------------------------------------------------------

    def up(self, count=3, memory_mib=2048, image_path=None, keep=False, deadline_s=420, witness=False):
        """Start a fresh cluster of count nodes, and a witness if wanted. Whatever interrupts it, nothing stays unless keep is true."""
        if not 1 <= count <= addresses.MOST_NODES:
            raise LabError(f"--nodes: must be 1 to {addresses.MOST_NODES}, is {count}")
        if memory_mib < 512:
            raise LabError(f"--memory: must be at least 512 MiB, is {memory_mib}")
        require_programs()
        source = image.locate(image_path)
        self._stop.clear()
        with self._exclusive():
            if self.paths.state.exists() and self.network.exists():
                raise LabError(f"the lab '{self.paths.name}' is up already: 'lab down' first")
            self._clear()
            try:
                self._bring_up(count, memory_mib, source, deadline_s, witness)
            except BaseException:
                if not keep:
                    self.say("not up: cleaning up")
                    self._clear()
                raise

    def _bring_up(self, count, memory_mib, source, deadline_s, witness):
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        self.paths.events.unlink(missing_ok=True)
        with image.settled(source, lambda: self.say("waiting for the image that is being built")):
            state = self._new_state(count, memory_mib, source, witness)
        files, sha256 = state.content["image"]["files"], state.content["image"]["sha256"]
        self.say(f"image {source.name} {sha256[:12]}{'' if 'kernel' in files else ' (boots from its disk)'}")
        self._make_disks(state)
        self.network.create(state.numbers)
        self._start_bmcs(state)
        self.say(f"disks, namespace {self.paths.namespace} and BMCs ready")
        for node in state.nodes:
            self._start_node(state, node)
        self.say(f"{', '.join(state.names)} powered on")
        self._wait_booted(state, deadline_s)
        state.content["phase"] = "up"
        state.write()
        self.event("ready")
        self.say("lab is up")

    def _new_state(self, count, memory_mib, source, witness):
        sha256 = image.fingerprint(source, self._image_hashes)
        files = image.names(source, sha256)
        state = State.new(self.paths.state, memory_mib, {"path": str(source), "sha256": sha256, "files": files},
                          [*range(1, count + 1), *([addresses.WITNESS] if witness else [])])
        for node in state.nodes:
            node["disks"] = {"vda": [files["disk"], self.layers.new_name(node["name"], "vda")]}
            if node["number"] != addresses.WITNESS:
                node["disks"]["vdb"] = [self.layers.new_name(node["name"], "vdb")]
        state.write()                                 # first: a layer that no state names is garbage
        self.event("up", nodes=state.names, image=sha256)
        image.adopt(source, files, self.layers)
        return state

    def _make_disks(self, state):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", self.paths.key)
        public = self.paths.key.with_suffix(".pub").read_text()
        tokens = seed.join_tokens(len(state.nodes) - 1)
        for node in state.nodes:
            paths = self.paths.node(node["name"])
            paths.folder.mkdir(parents=True, exist_ok=True)
            seed.write(paths.seed, node["number"], tokens, public)
            self.layers.create(node["disks"]["vda"])
            if "vdb" in node["disks"]:
                self.layers.create(node["disks"]["vdb"], DATA_DISK_BYTES)

    def _start_bmcs(self, state):
        for node in state.nodes:
            bmc.configure(self.paths, node["name"], node["number"])
            bmc.start(self.paths, node["name"], node["number"], self.network)

    def _start_node(self, state, node, by="person", incoming=None):
        """Power on; the caller need not hold the node's lock."""
        with locked(str(self.paths.node(node["name"]).lock)):
            self.ssh_client.close(node)
            if nodes.start(self.paths, state, node, self.layers, self.network, incoming):
                self.event("power.on", node=node["name"], by=by)

    def _wait_booted(self, state, deadline_s):
        """Wait for ssh on all nodes. An emulated node stalls once in a while: it gets one power cycle, and it is told."""
        began = time.monotonic()

        def wait(node):
            fault = self._boot_fault(node, began, began + deadline_s / 2)
            if fault:
                self.say(f"RETRY: {node['name']} {fault}; cycling its power "
                         f"(see {self.paths.node(node['name']).serial_log})")
                self.event("retry", node=node["name"], why=fault)
                power.off(self.paths.node(node["name"]), self.paths.events, node["name"], "retry")
                again = time.monotonic()
                self._start_node(state, node, by="retry")
                fault = self._boot_fault(node, again, began + deadline_s)
                if fault:
                    raise LabError(f"{node['name']} {fault}, even after a power cycle:\n"
                                   + self._serial_tail(node["name"]))
            self.event("booted", node=node["name"])
            self.say(f"{node['name']} answers ssh")
        self._each(state, wait)

    def _boot_fault(self, node, started, deadline):
        """What is wrong with a node powered on at `started`, as text; None when it answers and its clock is sane."""
        answers = self.ssh_client.wait(node, deadline)
        if self._stop.is_set():
            raise LabError("given up")
        if not answers:
            return f"did not answer ssh within {time.monotonic() - started:.0f} s"
        elapsed, uptime = time.monotonic() - started, self.ssh_client.uptime_s(node)
        if uptime > elapsed * 1.1 + 5:
            return f"has a clock that runs too fast ({uptime:.0f} s in {elapsed:.0f} s)"
        return None

    def _serial_tail(self, name, lines=15):
        try:
            text = self.paths.node(name).serial_log.read_text(errors="replace")
        except FileNotFoundError:
            return "(no serial log)"
        return "\n".join(text.splitlines()[-lines:])

    def down(self):
        """Remove every trace of the lab except its logs, from whatever state it is in."""
        with self._exclusive():
            self._clear()

    def _clear(self):
        self.network.destroy()
        shutil.rmtree(self.paths.run, ignore_errors=True)
        self.paths.state.unlink(missing_ok=True)
        for file in (self.paths.key, self.paths.key.with_suffix(".pub")):
            file.unlink(missing_ok=True)
        kept = self.paths.folder / "nodes"
        for folder in kept.iterdir() if kept.exists() else ():
            log = folder / "serial.log"
            if log.exists():
                log.replace(self.paths.folder / f"{folder.name}.serial.log")
        shutil.rmtree(kept, ignore_errors=True)
        self.layers.collect()

    # -- looking -----------------------------------------------------------------------------------------

    def status(self):
        state = self.state
        if not self.network.exists():
            raise LabError(f"the lab '{self.paths.name}' lost its namespace (a reboot?): 'lab down' clears it")
        cuts = self.network.cuts()
        return {"name": self.paths.name, "namespace": self.paths.namespace, "phase": state.content["phase"],
                "memory_mib": state.content["memory_mib"], "image": state.content["image"]["sha256"],
                "nodes": [self._node_status(node, cuts) for node in state.nodes]}

    def _node_status(self, node, cuts):
        paths = self.paths.node(node["name"])
        return {"name": node["name"], "power": "on" if power.is_on(paths) else "off",
                "qemu_pid": process.recorded(paths.qemu), "bmc_pid": process.recorded(paths.bmc),
                "ring0": addresses.address("ring0", node["number"]), "ring1": addresses.address("ring1", node["number"]),
                "bmc": addresses.bmc_address(node["number"]), "cuts": cuts.get(node["name"], {}),
                "serial_log": str(paths.serial_log)}

    def logs(self, name, words=("-n", "200")):
        """The node's journal, or its serial log when it cannot be asked."""
        node = self.state.node(name)
        try:
            return self.ssh_client.run(node, ["journalctl", "--no-pager", *words]).stdout
        except LabError as error:
            return f"({error}; this is the serial log)\n{self._serial_tail(name, 200)}\n"

    # -- nodes -------------------------------------------------------------------------------------------

    def ssh(self, name, command, timeout_s=60, check=True, text=None):
        """Run a command in a node; returns a CompletedProcess. command: text for the node's shell, or words."""
        words = [command] if isinstance(command, str) else list(command)
        return self.ssh_client.run(self.state.node(name), words, timeout_s, check, text)

    def copy(self, name, source, target):
        self.ssh_client.copy(self.state.node(name), source, target)

    def wait(self, name, timeout_s=180):
        """Wait until the node answers ssh."""
        if not self.ssh_client.wait(self.state.node(name), time.monotonic() + timeout_s):
            raise LabError(f"{name} did not answer ssh within {timeout_s:.0f} s:\n{self._serial_tail(name)}")

    def power(self, name, action, by="person"):
        """off: a power cut, over when this returns. on: returns when QEMU runs, long before the node has booted."""
        state = self.state
        node = state.node(name)
        if action not in ("on", "off", "cycle"):
            raise LabError(f"power action '{action}': must be on, off or cycle")
        if action in ("off", "cycle"):
            power.off(self.paths.node(name), self.paths.events, name, by)
        if action in ("on", "cycle"):
            self._start_node(state, node, by=by)

    def reinstall(self, name, token):
        """Put a new machine in the place of a node that is off: empty disks and a seed that lets it join with this token. It is powered on."""
        state = self.state
        node, paths = state.node(name), self.paths.node(name)
        if node["number"] == 1:
            raise LabError(f"{name} is the machine whose seed makes a cluster: only the others can be reinstalled")
        with self._exclusive(), locked(str(paths.lock)):
            if power.is_on(paths):
                raise LabError(f"{name} is powered on: 'lab power {name} off' first")
            node["disks"] = {"vda": [state.content["image"]["files"]["disk"], self.layers.new_name(name, "vda")],
                             "vdb": [self.layers.new_name(name, "vdb")]}
            state.write()
            self.layers.create(node["disks"]["vda"])
            self.layers.create(node["disks"]["vdb"], DATA_DISK_BYTES)
            seed.write(paths.seed, node["number"], [token] * (node["number"] - 1), self.paths.key.with_suffix(".pub").read_text())
        self.layers.collect()
        self.event("reinstall", node=name)
        self._start_node(state, node)

    def cut(self, name, network, direction="both", hard=False, percent=100):
        """Drop the node's packets on a network (direction as the node sees it), or only a percentage of them. A soft cut of ring0
        lets the lab's own ssh from the host through, and nothing else."""
        if not 1 <= percent <= 100:
            raise LabError(f"--percent: must be 1 to 100, is {percent}")
        self._change_cut("cut", name, network, direction, hard=hard, percent=percent)

    def heal(self, name, network, direction="both"):
        self._change_cut("heal", name, network, direction)

    def _change_cut(self, verb, name, network, direction, **options):
        node = self.state.node(name)
        if network not in ALL_NETWORKS:
            raise LabError(f"unknown network '{network}': must be one of {', '.join(ALL_NETWORKS)}")
        if direction not in DIRECTIONS:
            raise LabError(f"--direction '{direction}': must be one of {', '.join(DIRECTIONS)}")
        getattr(self.network, verb)(node["number"], network, direction, **options)
        self.event(verb, node=name, network=network, direction=direction, **options)

    # -- saved states ------------------------------------------------------------------------------------

    def save(self, name, replace=False):
        """Save the running cluster; it goes on afterwards."""
        folder = self.paths.save(name)
        if folder.exists() and not replace:
            raise LabError(f"there is a saved state '{name}' already: 'lab forget {name}', or --replace")
        with self._exclusive():
            state = self.state
            with self._node_locks(state):
                saves.save(self.paths, state, self.layers, folder)
            self.event("save", name=name)
            self.say(f"saved '{name}', nodes go on")
            self._after_pause(state)
            self.layers.collect()

    def restore(self, name, old_image=False):
        """Replace whatever runs by the saved state: all nodes on, nothing cut, everything since forgotten."""
        require_programs()
        folder = self.paths.save(name)
        manifest = saves.load(folder)
        if not old_image:
            source = image.locate(manifest["image"]["path"])
            with image.settled(source, lambda: self.say("waiting for the image that is being built")):
                saves.check_image(folder, manifest, image.fingerprint(source, self._image_hashes))
        with self._exclusive():
            self._clear()
            try:
                self._restore(name, folder, manifest)
            except BaseException:
                self._clear()
                raise

    def _restore(self, name, folder, manifest):
        self._stop.clear()
        self.paths.folder.mkdir(parents=True, exist_ok=True)
        state = State.new(self.paths.state, manifest["memory_mib"], manifest["image"],
                          [node["number"] for node in manifest["nodes"]])
        for node, saved in zip(state.nodes, manifest["nodes"]):
            node["disks"] = {disk: [*chain, self.layers.new_name(node["name"], disk)]
                             for disk, chain in saved["disks"].items()}
        state.write()
        for key in (self.paths.key, self.paths.key.with_suffix(".pub")):
            shutil.copy(folder / key.name, key)
        self.network.create(state.numbers)

        def start(node):
            paths = self.paths.node(node["name"])
            paths.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / f"{node['name']}.seed", paths.seed)
            for chain in node["disks"].values():
                self.layers.create(chain)
            self._start_node(state, node, by="restore", incoming=folder / f"{node['name']}.memory")
        self._each(state, start)
        self._start_bmcs(state)
        saves.resume(self.paths, state)
        self.event("restore", name=name)
        self.say(f"restored '{name}', nodes go on")
        state.content["phase"] = "up"
        state.write()
        self._after_pause(state)

    def _after_pause(self, state):
        """Nodes that stood still have a wall clock that is behind; certificates and logs care. Corosync, etcd and
        Pacemaker count time by the monotonic clock and do not notice."""
        self._each(state, self.ssh_client.set_clock)
        self.event("clock", nodes=state.names)
        self.say("wall clocks set")

    def saves(self):
        found = sorted(self.paths.saved.glob("[!.]*/manifest.json")) if self.paths.saved.exists() else []
        manifests = [(file.parent, json.loads(file.read_text())) for file in found]
        return [{"name": folder.name, "saved_at": manifest["saved_at"], "nodes": len(manifest["nodes"]),
                 "image": manifest["image"]["sha256"],
                 "memory_bytes": sum(file.stat().st_size for file in folder.glob("*.memory"))}
                for folder, manifest in manifests]

    def forget(self, name):
        folder = self.paths.save(name)
        saves.load(folder)
        shutil.rmtree(folder)
        self.layers.collect()

    # -- the cluster in the nodes ------------------------------------------------------------------------

    def holdfast_status(self, name):
        """`holdfast status --json` as a node sees it, or None while it gives none."""
        try:
            return cluster.parse_status(self.ssh(name, "holdfast status --json", timeout_s=30, check=False).stdout)
        except LabError:
            return None

    def wait_cluster(self, timeout_s=300):
        """Wait until every node says that it is quorate and sees every node online. One node is asked at a time, and the next when it is
        content: nodes that start up share this machine's cores with whoever answers."""
        state, deadline = self.state, time.monotonic() + timeout_s
        lacking = dict.fromkeys(state.members, "not asked")
        while True:
            name = next(iter(lacking))
            lacking[name] = cluster.missing(self.holdfast_status(name), state.members, state.has_witness)
            if not lacking[name]:
                del lacking[name]
                if not lacking:
                    return
                continue
            if time.monotonic() > deadline:
                told = "; ".join(f"{name}: {text}" for name, text in lacking.items())
                raise LabError(f"no whole cluster within {timeout_s:.0f} s ({told})")
            time.sleep(1)

    def prove(self, timeout_s=600, only=None):
        """Prove the fencing of every node (or of `only` these), one after another, each asked for through the node after it."""
        names = self.state.members
        if len(names) < 2:
            raise LabError("fencing can only be proven with two nodes or more")
        for name in only or names:
            through = names[(names.index(name) + 1) % len(names)]
            self.ssh(through, f"holdfast fence prove {name} --wait", timeout_s=timeout_s)
            self.say(f"fencing of {name} proven (asked through {through})")
            self.wait(name)
            self.wait_cluster(timeout_s)
