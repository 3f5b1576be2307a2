# SPDX-License-Identifier: Apache-2.0
"""One cycle: restore the base cluster, do what the plan says while a client writes and the nodes are observed, heal, wait for the cluster to be whole, judge."""

import time
from dataclasses import dataclass, field

from holdfast_check import history
from holdfast_check.cluster import Cluster, wait_for
from holdfast_lab import cluster as lab_cluster
from holdfast_lab.errors import LabError

from . import invariants, plan as plans
from .nemeses import CATALOGUE
from .observe import Observer

SETTLE_S = 900
FENCED_BY = "bmc"


@dataclass
class Verdict:
    seed: int
    plan: str
    violations: list = field(default_factory=list)
    acked: int = 0
    outage_s: float = 0.0  # longest time without an acknowledged write
    settle_s: float = 0.0  # from healing to a whole, protected cluster
    fenced: list = field(default_factory=list)
    moved: bool = False
    error: str = ""        # the cycle itself failed: says nothing about the cluster


def roles(cluster):
    """{"home": node of the guest, "peer": of its other replica, "third": the rest}"""
    guest = cluster.wait_guest(cluster.names[0])
    home = guest["status"]["node"]
    peer = next(node for node in guest["nodes"] if node != home)
    return {"home": home, "peer": peer, "third": next(node for node in cluster.names if node not in (home, peer))}


def _made(step, roles):
    arguments = dict(step.arguments)
    for name in ("to", "order"):
        if name in arguments:
            arguments[name] = roles[arguments[name]] if isinstance(arguments[name], str) else [roles[role] for role in arguments[name]]
    return CATALOGUE[step.name](roles[step.role], **arguments)


def _whole(cluster):
    """None when everything is as it should be for good; otherwise what is missing."""
    if sorted(cluster.alive()) != sorted(cluster.names):
        return "a node is off"
    for node in cluster.names:
        status = cluster.lab.holdfast_status(node)
        lacking = lab_cluster.missing(status, cluster.names)
        if lacking:
            return f"{node}: {lacking}"
        guest = next(guest for guest in status["guests"] if guest["name"] == "demo")
        if guest["status"]["state"] != "running" or not guest["status"]["protected"]:
            return f"guest is {guest['status']['state']}, in sync {guest['status']['in_sync']}"
    return None


def power_offs(lab, since):
    return [(event["node"], event["monotonic"]) for event in lab.events() if event["kind"] == "power.off" and event["monotonic"] >= since]


def _verify(cluster, home):
    """I7: the same configuration on every node, and DRBD finds no block that differs."""
    digests = {node: cluster.lab.ssh(node, "cibadmin --query --scope configuration | md5sum").stdout.split()[0] for node in cluster.names}
    said = [] if len(set(digests.values())) == 1 else [f"I7: the nodes' configurations differ: {digests}"]
    minors = cluster.lab.ssh(home, "sed -n 's/^ *\\([0-9]*\\): cs:Connected.*/\\1/p' /proc/drbd").stdout.split()
    for minor in minors:
        cluster.lab.ssh(home, f"/lib/drbd/drbdsetup-84 verify {minor}")
        done = f"grep -c '^ *{minor}: cs:Connected' /proc/drbd"
        wait_for("online verification", lambda command=done: cluster.lab.ssh(home, command, check=False).stdout.strip() == "1", 300)
        text = cluster.lab.ssh(home, f"sed -n '/^ *{minor}: cs/,/oos:/p' /proc/drbd").stdout
        different = int(text.rsplit("oos:", 1)[1].split()[0])
        if different:
            said.append(f"I7: {different} KiB of minor {minor} differ between the replicas")
    return said


def run(lab, seed, base, folder, say):
    """Run the cycle of `seed` from the saved state `base`; history and observations go to `folder`."""
    plan = plans.make(seed)
    verdict = Verdict(seed, plans.text(plan))
    lab.restore(base, old_image=True)
    cluster = Cluster(lab)
    cluster.wait_guest(cluster.names[0], protected=True, timeout_s=180)
    cluster.wait_answering()
    actors = roles(cluster)
    nemeses = [_made(step, actors) for step in plan.steps]
    writing = cluster.start_writer(folder / "history.jsonl")
    begun = time.monotonic()
    try:
        with Observer(cluster) as observer:
            writing.wait_ok(time.monotonic())
            started = time.monotonic()
            for step, nemesis in zip(plan.steps, nemeses):
                time.sleep(max(0.0, started + step.at_s - time.monotonic()))
                say(f"  {time.monotonic() - started:5.1f} s {nemesis}")
                nemesis.inject(cluster)
            time.sleep(plan.hold_s)
            healed = time.monotonic()
            say(f"  {healed - started:5.1f} s healing")
            for nemesis in reversed(nemeses):
                nemesis.heal(cluster)
            for node in cluster.names:
                if node not in cluster.alive():
                    lab.power(node, "on")
            _settle(cluster, writing, healed, verdict)
            verdict.settle_s = round(time.monotonic() - healed, 1)
            entries = writing.stop()
            samples = observer.samples
    finally:
        if writing.process.poll() is None:
            writing.process.kill()
            writing.process.wait()
    offs = power_offs(lab, begun)
    verdict.fenced = sorted({event["node"] for event in lab.events()
                             if event["kind"] == "power.off" and event.get("by") == FENCED_BY and event["monotonic"] >= begun})
    verdict.acked = sum(1 for entry in entries if entry["op"] == "ok")
    verdict.outage_s = round(history.longest_gap(entries, started, time.monotonic()) or 0.0, 1)
    verdict.violations += invariants.two_at_once(samples, offs)
    verdict.violations += invariants.long_freezes(samples, offs, healed)
    verdict.violations += invariants.needless_fencing(verdict.fenced, nemeses)
    if not any(text.startswith("I6") for text in verdict.violations):
        verdict.violations += invariants.lost_writes(entries, cluster.records(), writing.client)
        running = cluster.running_on()
        verdict.moved = running != [actors["home"]]
        if len(running) != 1:
            verdict.violations.append(f"I4: the guest runs on {running}")
        else:
            verdict.violations += _verify(cluster, running[0])
    if verdict.violations:
        _keep(cluster, samples, folder)
    return verdict


def _settle(cluster, writing, healed, verdict):
    """I6: service back and the cluster whole again after healing."""
    missing = "never asked"
    deadline = time.monotonic() + SETTLE_S
    while missing and time.monotonic() < deadline:
        time.sleep(2)
        missing = _whole(cluster)
    if missing:
        verdict.violations.append(f"I6: not whole {SETTLE_S} s after healing: {missing}")
        return
    try:
        writing.wait_ok(max(healed, time.monotonic()), 120)
    except AssertionError:
        verdict.violations.append("I6: the cluster says all is well, and the guest acknowledges nothing")


def _keep(cluster, samples, folder):
    """Evidence of a violation: journals and observations."""
    import json
    (folder / "samples.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    for node in cluster.names:
        try:
            (folder / f"{node}.journal").write_text(cluster.lab.logs(node, ["-n", "20000", "-o", "short-precise"]))
        except (LabError, OSError) as error:
            (folder / f"{node}.journal").write_text(str(error))
    try:
        (folder / "pacemaker.txt").write_text(cluster.lab.ssh(cluster.names[0], "crm_mon -1Arfn; holdfast status", check=False).stdout)
    except LabError:
        pass
