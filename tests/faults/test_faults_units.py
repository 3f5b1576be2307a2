# SPDX-License-Identifier: Apache-2.0
"""The campaign's judge must be able to say both things."""
import pathlib
import runpy
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]
from holdfast_faults import invariants, nemeses, plan, results  # noqa: E402


def sample(node, at, active=True, boot="b1", frozen=False):
    return {"node": node, "at": at, "boot": boot, "vmm": 77 if active else 0, "gate": "linear" if active else "error",
            "drbd": [{"minor": 16, "cs": "Connected", "ro": "Primary/Secondary" if active else "Secondary/Primary", "ds": "UpToDate/UpToDate",
                      "frozen": frozen}]}


def test_the_same_seed_makes_the_same_plan_and_others_differ():
    assert plan.make(5) == plan.make(5)
    assert len({plan.text(plan.make(seed)) for seed in range(200)}) > 190


def test_every_nemesis_is_drawn_and_can_be_made():
    drawn = {step.name for seed in range(400) for step in plan.make(seed).steps}
    assert drawn == set(nemeses.CATALOGUE) == set(plan.WEIGHTS)


def test_one_node_after_the_other_is_well():
    samples = [sample("n1", 0), sample("n1", 5), sample("n1", 6, False), sample("n2", 6.2), sample("n2", 9)]
    assert invariants.two_at_once(samples, []) == []


def test_two_writers_are_seen():
    samples = [sample("n1", 0), sample("n2", 3), sample("n1", 5), sample("n2", 6), sample("n1", 7, False)]
    said = invariants.two_at_once(sorted(samples, key=lambda s: s["at"]), [])
    assert len(said) == 1 and said[0].startswith("I1: n1 and n2 could both write for 3.0 s")


def test_a_frozen_writer_counts_too():
    samples = [sample("n1", 0, frozen=True), sample("n2", 3), sample("n1", 5, frozen=True), sample("n2", 6)]
    assert invariants.two_at_once(samples, [])


def test_a_power_cut_ends_a_writer_at_that_moment():
    samples = [sample("n1", 0), sample("n1", 2), sample("n2", 2.6), sample("n2", 9)]
    assert invariants.two_at_once(samples, [("n1", 2.1)]) == []


def test_a_node_that_merely_fell_silent_counts_until_its_last_word():
    samples = [sample("n1", 0), sample("n1", 2), sample("n2", 4), sample("n1", 30, False), sample("n2", 31)]
    assert invariants.two_at_once(samples, []) == []
    found = invariants.intervals(samples, invariants.may_write, [])
    assert found["n1"] == [(0, 2)]


def test_a_reboot_ends_a_writer():
    samples = [sample("n1", 0), sample("n1", 2), sample("n2", 3), sample("n1", 4, False, boot="b2"), sample("n2", 5)]
    assert invariants.two_at_once(samples, []) == []


@pytest.mark.parametrize("name, records", [
    ("lost", [(1, "c", 1, "p1")]),
    ("duplicated", [(1, "c", 1, "p1"), (2, "c", 1, "p1"), (3, "c", 2, "p2")]),
    ("foreign", [(1, "c", 1, "p1"), (2, "c", 2, "garbage")]),
])
def test_bad_data_is_seen(name, records):
    entries = [{"t": 0, "op": "invoke", "seq": 1}, {"t": 1, "op": "ok", "seq": 1}, {"t": 2, "op": "invoke", "seq": 2}, {"t": 3, "op": "ok", "seq": 2}]
    assert any(name in text for text in invariants.lost_writes(entries, records, "c"))
    assert invariants.lost_writes(entries, [(1, "c", 1, "p1"), (2, "c", 2, "p2")], "c") == []


def test_a_shot_without_need_is_seen_and_one_with_need_is_not():
    cut = nemeses.Cut("n1", network="ring1", direction="both")
    assert invariants.needless_fencing(["n1"], [cut]) == ["I9: n1 was fenced without need"]
    assert invariants.needless_fencing(["n1"], [cut, nemeses.Cut("n2", network="ring0", direction="in")]) == []
    assert invariants.needless_fencing(["n1"], [nemeses.PowerCut("n1")]) == []
    assert invariants.needless_fencing(["n2"], [nemeses.PowerCut("n1")]) == ["I9: n2 was fenced without need"]
    assert invariants.needless_fencing(["n1"], [nemeses.Kill("n1", program="holdfastd")]) == ["I9: n1 was fenced without need"]


def test_long_freezes_count_only_after_healing():
    samples = [sample("n1", at, frozen=True) for at in range(0, 400, 2)]
    assert invariants.long_freezes(samples, [], quorate_since=390) == []
    assert invariants.long_freezes(samples, [], quorate_since=100)


def test_the_table_counts():
    entry = {"seed": 3, "plan": "0.4 s cut peer network=ring1; healed 36 s later", "violations": ["I1: x"], "acked": 5, "outage_s": 1.0,
             "settle_s": 2.0, "fenced": [], "moved": False, "error": ""}
    text = results.table([entry, {**entry, "seed": 4, "violations": []}, {**entry, "seed": 5, "error": "lab"}])
    assert "2 cycles judged, 1 with violations, 1 that could not be run" in text and "seed 3" in text


def test_every_mutant_has_a_patch_that_fits_the_sources():
    mutants = runpy.run_path(str(HERE / "prove"))["MUTANTS"]
    assert {f"{name}.patch" for name in mutants} == {path.name for path in (HERE / "mutants").iterdir()}
    for name in mutants:
        done = subprocess.run(["patch", "--dry-run", "-f", "-p1", "-F0", "-d", HERE.parent.parent, "-i", HERE / "mutants" / f"{name}.patch"],
                              capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
