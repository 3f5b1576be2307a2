# SPDX-License-Identifier: Apache-2.0
"""From nothing to a saved cluster: "base" of three nodes, or "base2" of two and a witness; fencing proven, the demo guest running and
protected."""

import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

from holdfast_lab.errors import LabError
from holdfast_lab.paths import REPOSITORY

from .cluster import Cluster

BASE = "base"
BASE_WITNESS = "base2"
BASES = {BASE: {"count": 3}, BASE_WITNESS: {"count": 2, "witness": True}}
GUEST_SPEC_WORDS = ["--memory", "128", "--image", "demo", "--network", "lan"]


def build(say):
    """Programs, packages, appliance and demo guest, each only when its inputs changed."""
    for words in (["make", "--no-print-directory", "image"], ["tests/lab/demo-guest/build"]):
        say(" ".join(words))
        done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            raise LabError(f"'{' '.join(words)}' failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def base_is_current(lab, base):
    try:
        lab.restore(base)
        return True
    except LabError as error:
        lab.say(f"no usable saved cluster: {error}")
        return False


def copy_image(cluster, node):
    cluster.lab.copy(node, str(pathlib.Path(REPOSITORY) / "build/demo-guest/demo.img"), ":/var/lib/holdfast/demo.img")


def prove(cluster):
    """Each node is shot and must come back before the next is. The guest's image goes to the first node while the last one boots."""
    first, last = cluster.names[0], cluster.names[-1]
    cluster.lab.prove(only=cluster.names[:-1])
    with ThreadPoolExecutor(1) as pool:
        copied = pool.submit(copy_image, cluster, first)
        cluster.lab.prove(only=[last])
        copied.result()


def make_guest(cluster, node, say):
    cluster.cli(node, "image", "import", "demo", "/var/lib/holdfast/demo.img", timeout_s=300)
    cluster.lab.ssh(node, "rm /var/lib/holdfast/demo.img")
    say("image imported")
    cluster.cli(node, "guest", "create", "demo", *GUEST_SPEC_WORDS, timeout_s=600)
    cluster.wait_guest(node, protected=True, timeout_s=300)
    say("guest created and protected")
    cluster.wait_answering()
    say("guest answers")


def from_scratch(lab, base):
    cluster = Cluster(lab)
    lab.down()
    lab.up(**BASES[base])
    lab.say("waiting for the cluster")
    lab.wait_cluster(420)
    lab.say("cluster is whole")
    prove(cluster)
    make_guest(cluster, lab.state.names[0], lab.say)
    lab.save(base, replace=True)
    return cluster


def ensure(lab, base=BASE):
    """A running cluster in that state: restored when the appliance is unchanged, made anew otherwise."""
    build(lab.say)
    if base_is_current(lab, base):
        return Cluster(lab)
    return from_scratch(lab, base)
