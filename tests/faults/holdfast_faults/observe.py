# SPDX-License-Identifier: Apache-2.0
"""Observers in all nodes during a cycle: their samples on the host's monotonic clock.

A node's clock is mapped by the fastest of its samples: receiving one can be late, never early, so the smallest (received - sent) of one boot is
nearest to the true offset."""

import contextlib
import json
import subprocess
import threading
import time

from holdfast_lab.errors import LabError
from holdfast_lab.paths import REPOSITORY

PROGRAM = REPOSITORY / "build" / "tests" / "faults" / "observer"
PLACE = "/run/holdfast-observer"


class Observer:
    """with Observer(cluster) as observer: ...; then observer.samples: [{"node", "at", "boot", "vmm", "gate", "drbd"}] in order of time."""

    def __init__(self, cluster, guest="demo", gate="hfgate-demo-0"):
        self.cluster, self.words = cluster, f"exec {PLACE} {guest} {gate}"
        self.raw, self.lock, self.ending = [], threading.Lock(), threading.Event()
        self.children = {}
        self.threads = [threading.Thread(target=self._follow, args=(node,), daemon=True) for node in cluster.names]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len({node for node, _, _ in self.snapshot()}) < len(self.cluster.names):
            if time.monotonic() > deadline:
                raise AssertionError("an observer does not start")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.ending.set()
        for child in list(self.children.values()):
            child.kill()
        for thread in self.threads:
            thread.join(30)

    def snapshot(self):
        with self.lock:
            return list(self.raw)

    def _follow(self, node):
        while not self.ending.is_set():
            with contextlib.suppress(LabError, OSError, subprocess.SubprocessError):
                self._once(node)
            self.ending.wait(1.0)

    def _once(self, node):
        lab = self.cluster.lab
        record = lab.state.node(node)
        lab.ssh_client.open(record, 20)
        if lab.ssh(node, f"test -x {PLACE}", check=False).returncode != 0:
            lab.copy(node, str(PROGRAM), f":{PLACE}")
        child = subprocess.Popen(lab.ssh_client.argv(record, [self.words]), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL, text=True)
        self.children[node] = child
        for line in child.stdout:
            received = time.monotonic()
            with contextlib.suppress(ValueError):  # a torn last line of a node that lost power
                sample = json.loads(line)
                with self.lock:
                    self.raw.append((node, received, sample))
        child.wait()

    @property
    def samples(self):
        raw = self.snapshot()
        offset = {}
        for node, received, sample in raw:
            key = (node, sample["boot"])
            offset[key] = min(offset.get(key, float("inf")), received - sample["t"])
        made = [{"node": node, "at": sample["t"] + offset[node, sample["boot"]], **{name: sample[name] for name in ("boot", "vmm", "gate", "drbd")}}
                for node, _, sample in raw]
        return sorted(made, key=lambda sample: sample["at"])
