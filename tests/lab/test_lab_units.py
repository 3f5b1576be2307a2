# SPDX-License-Identifier: Apache-2.0
"""Tests of the lab itself that start no node."""

import json
import os
import pathlib
import struct
import subprocess
import sys
import types

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from holdfast_check import results, tags  # noqa: E402
from holdfast_check.cluster import Cluster  # noqa: E402
from holdfast_lab import (addresses, bmc, chassis, cli, cluster, events, image, node as nodes, power, process, saves,  # noqa: E402
                          seed)
from holdfast_lab.errors import LabError  # noqa: E402
from holdfast_lab.lab import Lab  # noqa: E402
from holdfast_lab.layers import LayerStore  # noqa: E402
from holdfast_lab.locks import locked  # noqa: E402
from holdfast_lab.network import Network  # noqa: E402
from holdfast_lab.paths import LabPaths  # noqa: E402
from holdfast_lab.state import State  # noqa: E402


@pytest.fixture
def child():
    process_ = subprocess.Popen(["sleep", "600"])
    yield process_
    process_.kill()
    process_.wait()


def make_state(root, names=(1, 2, 3)):
    paths = LabPaths("unit", root)
    paths.folder.mkdir(parents=True, exist_ok=True)
    state = State.new(paths.state, 1024, {"path": "x", "sha256": "0" * 64, "files": {"disk": "image-0.disk"}}, names)
    for node in state.nodes:
        node["disks"] = {"vda": ["image-0.disk", f"{node['name']}-vda-1.qcow2"], "vdb": [f"{node['name']}-vdb-1.qcow2"]}
        paths.node(node["name"]).folder.mkdir(parents=True, exist_ok=True)
    state.write()
    return paths, state


# -- processes ---------------------------------------------------------------------------------------------

def test_a_recorded_process_is_known_and_killed(tmp_path, child):
    file = tmp_path / "pid"
    assert process.record(file, child.pid)
    assert process.recorded(file) == child.pid
    assert process.kill_recorded(file)
    assert process.start_time(child.pid) is None        # a zombie of this test now: counts as gone
    assert not file.exists()


def test_a_recycled_number_is_neither_alive_nor_killed(tmp_path, child):
    file = tmp_path / "pid"
    file.write_text(f"{child.pid} {process.start_time(child.pid) - 1}\n")
    assert process.recorded(file) is None
    assert not process.kill_recorded(file)
    assert child.poll() is None


@pytest.mark.parametrize("text", ["", "12", "x y", "1 2 3"])
def test_a_damaged_pid_file_is_no_process(tmp_path, text):
    (tmp_path / "pid").write_text(text)
    assert process.recorded(tmp_path / "pid") is None


def test_power_off_ends_the_process_and_notes_it_once(tmp_path, child):
    paths, _ = make_state(tmp_path)
    process.record(paths.node("n1").qemu, child.pid)
    assert power.off(paths.node("n1"), paths.events, "n1", "person")
    assert not power.off(paths.node("n1"), paths.events, "n1", "person")
    noted = events.read(paths.events)
    assert [(event["kind"], event["node"], event["by"]) for event in noted] == [("power.off", "n1", "person")]
    assert noted[0]["monotonic"] > 0 and noted[0]["time"] > 0


def test_the_bmc_helper_answers_and_cuts_power(tmp_path, child, capsys):
    paths, _ = make_state(tmp_path)
    process.record(paths.node("n2").qemu, child.pid)
    ask = [str(tmp_path), "unit", "n2", "0x20"]
    chassis.main([*ask, "get", "power", "boot"])
    assert capsys.readouterr().out == "power:1\nboot:none\n"
    chassis.main([*ask, "set", "power", "0"])
    assert process.start_time(child.pid) is None
    chassis.main([*ask, "get", "power"])
    assert capsys.readouterr().out == "power:0\n"


# -- disk layers -------------------------------------------------------------------------------------------

def test_a_layer_knows_its_lower_layer_and_size(tmp_path):
    store = LayerStore(tmp_path)
    store.create(["a.qcow2"], 1 << 30)
    store.create(["a.qcow2", "b.qcow2"])
    info = store.info("b.qcow2")
    assert info["virtual-size"] == 1 << 30
    assert info["backing-filename"] == "a.qcow2"


def test_a_lowest_layer_needs_a_size_and_a_lower_one_must_exist(tmp_path):
    store = LayerStore(tmp_path)
    with pytest.raises(LabError, match="needs a size"):
        store.create(["a.qcow2"])
    with pytest.raises(LabError, match="a.qcow2 is missing"):
        store.create(["a.qcow2", "b.qcow2"])


def test_collect_deletes_only_what_no_lab_and_no_save_refers_to(tmp_path):
    store = LayerStore(tmp_path)
    make_state(tmp_path, (1,))
    save = tmp_path / "saved" / "s1"
    save.mkdir(parents=True)
    (save / "manifest.json").write_text(json.dumps(
        {"image": {"files": {"disk": "image-1.disk"}}, "nodes": [{"disks": {"vda": ["image-1.disk", "saved.qcow2"]}}]}))
    kept = {"image-0.disk", "n1-vda-1.qcow2", "n1-vdb-1.qcow2", "image-1.disk", "saved.qcow2"}
    store.folder.mkdir()
    for name in kept | {"garbage.qcow2"}:
        (store.folder / name).touch()
    assert store.collect() == ["garbage.qcow2"]
    assert set(os.listdir(store.folder)) - {".lock"} == kept


def test_collect_deletes_nothing_when_a_manifest_is_damaged(tmp_path):
    store = LayerStore(tmp_path)
    (tmp_path / "saved" / "s1").mkdir(parents=True)
    (tmp_path / "saved" / "s1" / "manifest.json").write_text("{")
    store.folder.mkdir()
    (store.folder / "precious.qcow2").touch()
    with pytest.raises(LabError, match="cannot be read"):
        store.collect()
    assert (store.folder / "precious.qcow2").exists()


# -- image and saved states --------------------------------------------------------------------------------

def test_the_fingerprint_follows_the_content_of_every_part(tmp_path):
    disk, cache = tmp_path / "holdfast.img", tmp_path / "hashes.json"
    disk.write_bytes(b"a" * 5000)
    first = image.fingerprint(disk, cache)
    assert image.fingerprint(disk, cache) == first
    (tmp_path / "vmlinuz").write_bytes(b"k")
    assert image.fingerprint(disk, cache) == first       # a kernel without initrd is not used
    (tmp_path / "initrd.img").write_bytes(b"i")
    with_kernel = image.fingerprint(disk, cache)
    assert with_kernel != first
    replacement = tmp_path / "new"
    replacement.write_bytes(b"b" * 5000)
    replacement.rename(disk)
    assert image.fingerprint(disk, cache) not in (first, with_kernel)


def test_an_adopted_image_survives_its_replacement(tmp_path):
    disk, store = tmp_path / "holdfast.img", LayerStore(tmp_path / "lab")
    for file in (disk, tmp_path / "vmlinuz", tmp_path / "initrd.img", tmp_path / "cmdline"):
        file.write_bytes(b"old")
    files = image.names(disk, "1" * 64)
    image.adopt(disk, files, store)
    (tmp_path / "new").write_bytes(b"new")
    (tmp_path / "new").rename(disk)
    (tmp_path / "cmdline").write_bytes(b"new")           # in place, as the builder does
    assert set(files) == {"disk", "kernel", "initrd", "cmdline"}
    assert [store.path(name).read_bytes() for name in files.values()] == [b"old"] * 4


def test_the_builders_lock_is_waited_for(tmp_path):
    path, waits = tmp_path / "holdfast.img", []
    with image.settled(path, lambda: waits.append(1)):   # no lock file: nobody builds there
        pass
    (tmp_path / ".lock").touch()
    with image.settled(path, lambda: waits.append(1)):
        with pytest.raises(BlockingIOError), locked(str(tmp_path / ".lock"), wait=False):
            pass
    assert not waits
    builder = subprocess.Popen(["flock", tmp_path / ".lock", "sh", "-c", "echo held; read x"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    builder.stdout.readline()
    with image.settled(path, lambda: waits.append(builder.stdin.close())):
        assert waits
    builder.stdout.close()
    builder.wait()


def test_restoring_with_another_image_is_refused(tmp_path):
    manifest = {"image": {"sha256": "a" * 64}}
    saves.check_image(tmp_path / "s1", manifest, "a" * 64)
    with pytest.raises(LabError, match="'s1' was made with another appliance image"):
        saves.check_image(tmp_path / "s1", manifest, "b" * 64)


def test_an_unknown_saved_state_is_named(tmp_path):
    with pytest.raises(LabError, match="no saved state 'nope'"):
        Lab("unit", tmp_path).restore("nope")


# -- what is asked for wrongly -----------------------------------------------------------------------------

@pytest.mark.parametrize("call, text", [
    (lambda lab: lab.power("n9", "off"), "unknown node 'n9': this lab has n1, n2, n3"),
    (lambda lab: lab.power("n1", "up"), "must be on, off or cycle"),
    (lambda lab: lab.cut("n1", "ring7"), "unknown network 'ring7': must be one of ring0, ring1, lan, bmc"),
    (lambda lab: lab.heal("n1", "lan", "sideways"), "--direction 'sideways'"),
    (lambda lab: lab.ssh("n1", "true"), "n1 is powered off"),
    (lambda lab: lab.save("../evil"), "name of a saved state"),
    (lambda lab: lab.up(count=0), "--nodes: must be 1 to 16, is 0"),
    (lambda lab: lab.up(memory_mib=64), "--memory: must be at least 512"),
    (lambda lab: lab.up(image_path="/nowhere.img"), "no appliance image at /nowhere.img"),
])
def test_errors_say_what_is_wrong(tmp_path, call, text):
    make_state(tmp_path)
    with pytest.raises(LabError) as error:
        call(Lab("unit", tmp_path))
    assert text in str(error.value)


@pytest.mark.parametrize("name", ["", "saved", "layers", "Upper", "a/b", "x" * 25])
def test_bad_lab_names_are_refused(tmp_path, name, monkeypatch):
    monkeypatch.setenv("HOLDFAST_LAB", name or "-")
    with pytest.raises(LabError, match="HOLDFAST_LAB"):
        LabPaths(None, tmp_path)


def test_the_command_line_prints_the_error_and_fails(monkeypatch, capsys):
    monkeypatch.setenv("HOLDFAST_LAB", "unit-never-up")
    assert cli.main(["power", "n1", "off"]) == 1
    assert "the lab is not up" in capsys.readouterr().err


def test_two_commands_cannot_change_one_lab_at_once(tmp_path):
    make_state(tmp_path)
    lab = Lab("unit", tmp_path)
    with lab._exclusive():
        with pytest.raises(LabError, match="another command is changing the lab"):
            Lab("unit", tmp_path).down()


# -- the seed, QEMU's arguments, the rules -----------------------------------------------------------------

def test_every_node_has_the_token_that_the_first_one_accepts():
    tokens = seed.join_tokens(2)
    first, second, third = (seed.answers(number, tokens) for number in (1, 2, 3))
    assert (first["action"], first["join_tokens"]) == ("init", tokens)
    assert "join" not in first
    assert [second["join"], third["join"]] == [{"address": "10.77.0.1", "token": token} for token in tokens]
    assert "networks" not in second
    assert third["fence"]["parameters"] == {"ip": "10.77.0.103", "username": "admin", "password": "secret",
                                            "lanplus": "1", "cipher": "3"}
    assert all(len(token.split(".")[0]) == 8 and len(token.split(".")[1]) == 32 for token in tokens)


def test_a_witness_is_a_machine_but_no_node(tmp_path):
    tokens = seed.join_tokens(2)
    document = seed.answers(addresses.WITNESS, tokens)
    assert (document["role"], document["node"], document["join"]["token"]) == ("witness", "w1", tokens[1])
    assert not {"storage_device", "fence", "ring1"} & set(document)
    paths, state = make_state(tmp_path, (1, 2, addresses.WITNESS))
    assert (state.names, state.members, state.has_witness) == (["n1", "n2", "w1"], ["n1", "n2"], True)
    memory = [nodes.arguments(paths, state, state.node(name), LayerStore(tmp_path)) for name in ("n1", "w1")]
    assert [words[words.index("-m") + 1] for words in memory] == ["1024", "512"]


def test_interfaces_are_named_by_mac():
    files = seed.network_files(2)
    assert files["10-lan0.link"] == "[Match]\nPermanentMACAddress=52:54:00:77:02:02\n\n[Link]\nName=lan0\n"
    assert "Address=10.77.1.2/24" in files["10-ring1.network"]


def test_qemu_gets_the_last_layers_and_never_ignores_flushes(tmp_path):
    paths, state = make_state(tmp_path)
    words = nodes.arguments(paths, state, state.node("n3"), LayerStore(tmp_path))
    text = " ".join(words)
    assert "n3-vda-1.qcow2" in text and "image-0.disk" not in text
    assert "unsafe" not in text and text.count("cache=writeback") == 3
    assert [word.split("mac=")[1].split(",")[0] for word in words if "mac=" in word] == [
        "52:54:00:77:00:03", "52:54:00:77:01:03", "52:54:00:77:02:03"]
    assert all(len(str(path)) < 108 for path in (paths.node("n3").qmp_socket, paths.node("n3").serial_socket))


def cut_script(monkeypatch, *arguments, **options):
    scripts = []
    network = Network("unit")
    monkeypatch.setattr(network, "_nft", scripts.append)
    network.cut(*arguments, **options)
    return scripts[0].splitlines()


def test_a_cut_drops_both_ways_and_leaves_only_the_hosts_ssh(monkeypatch):
    lines = cut_script(monkeypatch, 2, "ring0")
    assert [line for line in lines if line.endswith("drop")] == [
        "add rule netdev lab n2-ring0-in counter drop", "add rule netdev lab n2-ring0-out counter drop"]
    accepted = [line for line in lines if line.endswith("accept")]
    assert len(accepted) == 4 and all("10.77.0.254" in line for line in accepted)


@pytest.mark.parametrize("arguments, chains", [
    ((1, "ring1", "out"), ["n1-ring1-out"]), ((1, "lan", "in"), ["n1-lan-in"]), ((1, "bmc"), ["n1-bmc-in"])])
def test_a_cut_of_one_direction_or_the_bmc(monkeypatch, arguments, chains):
    lines = cut_script(monkeypatch, *arguments)
    assert [line.split()[-3] for line in lines if line.endswith("drop")] == chains
    assert not [line for line in lines if line.endswith("accept")]


def test_a_hard_cut_leaves_nothing(monkeypatch):
    assert not [line for line in cut_script(monkeypatch, 1, "ring0", hard=True) if line.endswith("accept")]


def test_bmc_addresses_are_distinct_from_nodes():
    numbers = [*range(1, addresses.MOST_NODES + 1), addresses.WITNESS]
    everything = [f(number) for number in numbers
                  for f in (addresses.bmc_address, lambda n: addresses.address("ring0", n))]
    assert len(set(everything)) == len(everything)


def test_the_bmc_runs_the_helper_of_this_checkout(tmp_path):
    paths, _ = make_state(tmp_path)
    bmc.configure(paths, "n1", 1)
    done = subprocess.run([paths.node("n1").folder / "chassis", "0x20", "get", "power"], capture_output=True, text=True,
                          check=True)
    assert done.stdout == "power:0\n"


# -- what nodes say about the cluster ----------------------------------------------------------------------

WHOLE = {"quorate": True, "dc": "n1", "nodes": [{"name": name, "online": True} for name in ("n1", "n2")]}


def test_status_is_read_with_and_without_envelope():
    assert cluster.parse_status(json.dumps(WHOLE)) == WHOLE
    assert cluster.parse_status(json.dumps({"v": 1, "ok": True, "result": WHOLE})) == WHOLE
    assert cluster.parse_status("bash: holdfast: command not found") is None
    assert cluster.parse_status("[]") is None


@pytest.mark.parametrize("status, text", [
    (None, "no answer from holdfast"), ({**WHOLE, "quorate": False}, "no quorum"),
    ({**WHOLE, "dc": None}, "Pacemaker has not chosen a DC"),
    ({**WHOLE, "nodes": WHOLE["nodes"][:1]}, "n2 not online"),
    ({**WHOLE, "nodes": [{"name": "n1", "online": True}, {"name": "n2", "online": False}]}, "n2 not online"),
    (WHOLE, None)])
def test_what_is_missing_for_a_whole_cluster(status, text):
    assert cluster.missing(status, ["n1", "n2"]) == text


def test_a_witness_that_does_not_vote_is_missing():
    voting = {"name": "w1", "voting": True, "store": True}
    assert cluster.missing({**WHOLE, "witness": voting}, ["n1", "n2"], True) is None
    for witness in (None, {**voting, "voting": False}, {**voting, "store": False}):
        assert cluster.missing({**WHOLE, "witness": witness}, ["n1", "n2"], True) == "the witness does not vote"


# -- results that are kept ---------------------------------------------------------------------------------

def test_the_last_result_of_a_name_and_build_counts(tmp_path):
    file = tmp_path / "folder" / "results.jsonl"
    for build, name, outcome in (("b1", "x", "failed"), ("b1", "x", "passed"), ("b2", "x", "failed"), ("b1", "y", "passed"),
                                 ("b1", "y", "failed")):
        results.add(build, name, outcome, 1.26, file)
    with open(file, "a", encoding="utf-8") as cut_off:
        cut_off.write('{"build": "b1", "name": "y", "outco')
    assert {name: entry["outcome"] for name, entry in results.load("b1", file).items()} == {"x": "passed", "y": "failed"}
    assert results.load("b3", file) == {}
    assert results.load("b1", tmp_path / "none") == {}


def test_the_table_counts_what_never_ran_as_failed():
    found = {"x": {"outcome": "passed", "seconds": 61.3}, "y": {"outcome": "failed", "seconds": 2.0}, "s": {"outcome": "skipped", "seconds": 0.1},
             "removed": {"outcome": "failed", "seconds": 9.0}}
    lines, passed, failed = results.table(["x", "y", "s", "z"], found, {"y", "s"})
    assert (passed, failed) == (1, 2)
    assert [line.split()[-1] for line in lines] == ["(kept)", "y", "s", "z"]
    assert lines[3].startswith("not run")


@pytest.mark.parametrize("outcomes, word", [(["passed"] * 3, "passed"), (["passed", "failed", "passed"], "failed"),
                                            (["passed", "passed", "failed"], "failed"), (["skipped", "passed"], "skipped")])
def test_a_scenario_passed_when_all_of_it_passed(outcomes, word):
    assert results.outcome_of([types.SimpleNamespace(outcome=outcome) for outcome in outcomes]) == word


def save_manifest(root, sha256, saved_at=1):
    folder = LabPaths("unit", root).save("base")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "saved_at": saved_at, "image": {"sha256": sha256}}))
    (folder.parent / "mine").mkdir(exist_ok=True)
    (folder.parent / "mine" / "manifest.json").write_text((folder / "manifest.json").read_text())


def test_the_build_is_the_image_and_the_tests(tmp_path, monkeypatch):
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_x.py").write_text("1")
    monkeypatch.setattr(results, "TESTS", tests)
    monkeypatch.setenv("HOLDFAST_LAB_ROOT", str(tmp_path / "lab"))
    save_manifest(tmp_path / "lab", "a" * 64)
    key, mine = results.build_key("base"), results.build_key("mine")
    save_manifest(tmp_path / "lab", "a" * 64, saved_at=2)
    assert results.build_key("base") == key             # made anew from the same image: the same build
    assert results.build_key("mine") != mine            # whatever was pushed into it meanwhile
    (tests / "test_x.py").write_text("2")
    assert results.build_key("base") != key
    (tests / "test_x.py").write_text("1")
    save_manifest(tmp_path / "lab", "b" * 64)
    assert results.build_key("base") != key


def test_a_node_that_is_on_or_the_first_is_not_reinstalled(tmp_path, child):
    paths, _ = make_state(tmp_path)
    lab = Lab("unit", tmp_path)
    with pytest.raises(LabError, match="only the others"):
        lab.reinstall("n1", "a.b")
    process.record(paths.node("n3").qemu, child.pid)
    with pytest.raises(LabError, match="lab power n3 off"):
        lab.reinstall("n3", "a.b")


# -- what runs where ----------------------------------------------------------------------------------------

class BusyLab:
    """Two nodes with power: n1 answers the first time, n2 only after two failures, one of ssh and one with half an answer."""

    def __init__(self):
        self.state = types.SimpleNamespace(members=["n1", "n2", "n3"])
        self.tries = 0

    def status(self):
        return {"nodes": [{"name": "n1", "power": "on"}, {"name": "n2", "power": "on"}, {"name": "n3", "power": "off"}]}

    def ssh(self, node, command, timeout_s, check):
        assert node in ("n1", "n2") and command.endswith("; echo asked") and not check
        if node == "n1":
            return types.SimpleNamespace(stdout="asked\n")
        self.tries += 1
        if self.tries == 1:
            raise LabError("n2 does not answer ssh")
        return types.SimpleNamespace(stdout="4711\n" + ("" if self.tries == 2 else "asked\n"))


def test_a_node_too_busy_to_answer_is_not_one_without_a_vmm():
    busy = Cluster(BusyLab())
    assert busy.running_on() == ["n2"]
    assert busy.lab.tries == 3


# -- VLAN tags on the wire ---------------------------------------------------------------------------------

def test_a_tag_is_read_beside_the_frame_or_in_it():
    plain = bytes(12) + b"\x08\x00" + bytes(46)
    beside = [(tags.SOL_PACKET, tags.PACKET_AUXDATA, struct.pack("=IIIHHHH", tags.STATUS_VLAN_VALID | 1, 60, 60, 0, 14, 0x2064, 0x8100))]
    none = [(tags.SOL_PACKET, tags.PACKET_AUXDATA, struct.pack("=IIIHHHH", 1, 60, 60, 0, 14, 0x2064, 0))]
    assert tags.tag_of(plain, beside) == 100
    assert tags.tag_of(plain, none) == 0
    assert tags.tag_of(bytes(12) + b"\x81\x00\x00\x64\x08\x00" + bytes(46), none) == 100
