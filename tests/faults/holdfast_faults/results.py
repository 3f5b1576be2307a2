# SPDX-License-Identifier: Apache-2.0
"""Results of all cycles of one build: a JSON line per cycle in build/faults/<build>/results.jsonl, and the table over them."""

import dataclasses
import hashlib
import json
import statistics

from holdfast_lab.paths import REPOSITORY


def build_name(image):
    """Names what is under test: the appliance's hash and, when other programs were put into the nodes, theirs too."""
    return image[:12]


def programs_hash(folder=REPOSITORY / "build" / "bin"):
    digest = hashlib.sha256()
    for program in sorted(folder.iterdir()):
        digest.update(program.name.encode() + program.read_bytes())
    return digest.hexdigest()[:12]


class Results:
    def __init__(self, build, root=REPOSITORY / "build" / "faults"):
        self.folder = root / build
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "results.jsonl"

    def read(self):
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines() if line.endswith("}")]

    def done(self):
        return {entry["seed"] for entry in self.read() if not entry["error"]}

    def add(self, verdict):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dataclasses.asdict(verdict)) + "\n")


def table(entries):
    """A line per first nemesis: cycles, violations, how often fenced, median and longest outage and settling."""
    judged = [entry for entry in entries if not entry["error"]]
    lines = [f"{'first fault':18} {'cycles':>6} {'violated':>8} {'fenced':>6} {'moved':>6} {'outage s median/worst':>22} {'whole again s':>16}"]
    for name in sorted({_kind(entry) for entry in judged}):
        mine = [entry for entry in judged if _kind(entry) == name]
        outages, settles = [entry["outage_s"] for entry in mine], [entry["settle_s"] for entry in mine]
        lines.append(f"{name:18} {len(mine):6} {sum(1 for e in mine if e['violations']):8} {sum(1 for e in mine if e['fenced']):6} "
                     f"{sum(1 for e in mine if e['moved']):6} {statistics.median(outages):13.1f} / {max(outages):6.1f} "
                     f"{statistics.median(settles):8.0f} / {max(settles):5.0f}")
    bad = [entry for entry in judged if entry["violations"]]
    lines.append(f"{len(judged)} cycles judged, {len(bad)} with violations, {len(entries) - len(judged)} that could not be run, "
                 f"{sum(entry['acked'] for entry in judged)} writes acknowledged")
    for entry in bad:
        lines.append(f"seed {entry['seed']}: {entry['plan']}")
        lines += [f"    {text}" for text in entry["violations"]]
    return "\n".join(lines)


def _kind(entry):
    return entry["plan"].split(" s ", 1)[1].split()[0]
