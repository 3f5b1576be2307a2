# SPDX-License-Identifier: Apache-2.0
"""Results of `make check-full`, kept while the build stays the same, so that a second run does only what has not passed yet.

build/tests/lab-full/results.jsonl has a line per scenario that ran: {"build", "name", "outcome", "seconds"}; the last line of a name counts."""

import hashlib
import json
import pathlib

from holdfast_lab import saves
from holdfast_lab.paths import LabPaths, REPOSITORY

FOLDER = pathlib.Path(REPOSITORY) / "build" / "tests" / "lab-full"
FILE = FOLDER / "results.jsonl"
COUNTS = FOLDER / "counts"                       # "PASSED FAILED" for tests/run-all
TESTS = pathlib.Path(REPOSITORY) / "tests" / "lab"


def build_key(base):
    """What the results are results of: the saved cluster's appliance image and everything that tests it."""
    manifest = saves.load(LabPaths().save(base))
    digest = hashlib.sha256(f"{base} {manifest['image']['sha256']}\n".encode())
    if base != "base":                           # programs may have been pushed into a developer's own saved state
        digest.update(f"{manifest['saved_at']}\n".encode())
    for path in sorted(TESTS.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".md":
            digest.update(f"{path.relative_to(TESTS)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def load(build, path=FILE):
    """{name: its last line} of one build. A line that a killed run left unfinished is no result."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["build"] == build:
            found[entry["name"]] = entry
    return found


def add(build, name, outcome, seconds, path=FILE):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"build": build, "name": name, "outcome": outcome, "seconds": round(seconds, 1)}) + "\n")


def outcome_of(reports):
    """One word for the reports of set-up, call and clean-up."""
    for word in ("failed", "skipped"):
        if any(report.outcome == word for report in reports):
            return word
    return "passed"


def table(names, found, ran):
    """(lines, passed, failed) over all scenarios; what has no result is failed, what was skipped is neither."""
    lines, passed, failed = [], 0, 0
    for name in names:
        entry = found.get(name, {"outcome": "not run", "seconds": 0.0})
        passed += entry["outcome"] == "passed"
        failed += entry["outcome"] in ("failed", "not run")
        kept = "" if name in ran or entry["outcome"] == "not run" else "  (kept)"
        lines.append(f"{entry['outcome']:8} {entry['seconds']:7.1f} s  {name}{kept}")
    return lines, passed, failed
