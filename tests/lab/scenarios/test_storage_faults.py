# SPDX-License-Identifier: Apache-2.0
"""A pool runs full under a writing guest, on either side; a disk hangs without an error, on either side; space given back is space again."""
import json
import subprocess
import time

import pytest
from holdfast_check.cluster import wait_for
from holdfast_lab.errors import LabError
from scenarios.test_disk import DEVICE, nobody_was_shot, notes, wait_in_sync
from scenarios.test_power import assert_comes_back, place, settle_verdict

pytestmark = pytest.mark.full

PROBE = "holdfast-hf--probe"  # the volume that holdfastd's probe writes to

# One page into each chunk of a new thin volume, until it has that many or the pool refuses. Direct, or the error would come much later.
FILL = """test -e /dev/holdfast/{name} || lvcreate -q -y -V {mib}M --thinpool holdfast/pool -n {name} >/dev/null
python3 -c "
import mmap, os
page = mmap.mmap(-1, 4096)
volume = os.open('/dev/holdfast/{name}', os.O_WRONLY | os.O_DIRECT)
try:
    for position in range(0, {mib} << 20, 65536):
        os.pwrite(volume, page, position)
except OSError as error:
    print('refused at', position, error)
" """

# Through QEMU's own monitor: what a guest's driver would do, without a driver in the guest.
QEMU_IO = """python3 -c "
import json, socket
monitor = socket.socket(socket.AF_UNIX)
monitor.settimeout(60)
monitor.connect('/run/holdfast/guests/{name}/agent.sock')
lines = monitor.makefile('rw')
lines.readline()
for command in ({{'execute': 'qmp_capabilities'}},
                {{'execute': 'human-monitor-command', 'arguments': {{'command-line': 'qemu-io -d vd0/virtio-backend \\"{command}\\"'}}}}):
    lines.write(json.dumps(command))
    lines.flush()
    answer = json.loads(lines.readline())
    while 'event' in answer:
        answer = json.loads(lines.readline())
print(json.dumps(answer))
" """


def node_status(cluster, asked, node):
    return next(each for each in cluster.status(asked)["nodes"] if each["name"] == node)["status"] or {}


def wait_level(cluster, asked, node, levels, timeout_s=120):
    return wait_for(f"the pool of {node} to be {levels}",
                    lambda: (status := node_status(cluster, asked, node)).get("pool_level") in levels and status, timeout_s, 2)


def wait_problem(cluster, asked, *words, timeout_s=120):
    """Status says something with all these words."""
    return wait_for(f"a problem that names {words}",
                    lambda: next((text for text in cluster.status(asked)["problems"] if all(word in text for word in words)), None),
                    timeout_s, 2)


def fill_pool(cluster, asked, node):
    """Every chunk of the pool on `node` is taken. On the way there people are warned and the reserve is given, by itself and once."""
    before = wait_level(cluster, asked, node, ["ok"])
    assert before["pool_reserve_mib"] > 0
    cluster.lab.ssh(node, FILL.format(name="filler", mib=before["pool_size_mib"] * 85 // 100 // 4 * 4), timeout_s=600)
    wait_level(cluster, asked, node, ["warning"])
    wait_problem(cluster, asked, f"node {node}:", "thin pool", "in reserve", "docs/runbook/pool-full.md")
    cluster.lab.ssh(node, FILL.format(name="filler2", mib=before["pool_size_mib"] * 7 // 100 // 4 * 4), timeout_s=600)
    given = wait_for("the reserve to be given", lambda: (status := node_status(cluster, asked, node)).get("pool_reserve_mib", 1 << 30) <
                     before["pool_reserve_mib"] and status["pool_size_mib"] > before["pool_size_mib"] and status, 180, 2)
    out = cluster.lab.ssh(node, FILL.format(name="filler3", mib=given["pool_size_mib"] // 4 * 4), timeout_s=600).stdout
    assert "refused at" in out, "the pool never ran full"
    full = wait_level(cluster, asked, node, ["full"])
    assert full["pool_size_mib"] == given["pool_size_mib"], "there was a second reserve"
    wait_problem(cluster, asked, f"node {node}:", "writes to new space fail")


def make_room(cluster, node):
    cluster.lab.ssh(node, "lvremove -q -y holdfast/filler holdfast/filler2 holdfast/filler3", timeout_s=300)


def write_until(cluster, done, limit=400):
    """The guest writes to space it never used, until something has happened. A line that gets no answer is no failure here: the guest may
    be frozen for a moment."""
    for number in range(limit):
        if done():
            return
        try:
            cluster.ask_guest(f"W filler{time.time_ns()} {number} {'x' * 7000}")
        except (AssertionError, subprocess.TimeoutExpired):
            time.sleep(1)
    raise AssertionError("the guest wrote and wrote, and nothing came of it")


def out_of(cluster, asked, names):
    guest = cluster.guest(asked)
    return guest is not None and guest["status"]["in_sync"] == names


def test_row_11_the_replicas_pool_runs_full(cluster, writing):
    """The replica drops out and that is recorded, the guest goes on. With room again the replica is taken again by itself, and is then as
    good as the other."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    fill_pool(cluster, third, peer)
    write_until(cluster, lambda: out_of(cluster, third, [home]))
    writing.wait_ok(time.monotonic(), 120)
    assert notes(cluster, peer) >= 1 and notes(cluster, home) == 0
    wait_problem(cluster, third, "there was no room in the pool", peer)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    nobody_was_shot(cluster)

    make_room(cluster, peer)
    wait_level(cluster, third, peer, ["ok"])
    cluster.wait_guest(home, on=home, protected=True, timeout_s=300)
    assert notes(cluster, peer) == 0
    assert_comes_back(cluster, writing, home, peer, third)


def test_row_11b_the_owners_pool_runs_full(cluster, writing):
    """The guest ends up with the other copy, with every acknowledged write; with room again the first copy comes back by itself."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    fill_pool(cluster, third, home)
    write_until(cluster, lambda: out_of(cluster, third, [peer]))
    cluster.wait_guest(third, on=peer, timeout_s=600)
    writing.wait_ok(time.monotonic(), 120)
    wait_for("the old VMM to be gone", lambda: cluster.running_on() == [peer], 60)
    print("moved live" if cluster.ask_guest("I").split()[1] == boot else "restarted on the other node")
    nobody_was_shot(cluster)

    make_room(cluster, home)
    wait_level(cluster, third, home, ["ok"])
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=300)
    assert notes(cluster, home) == 0
    settle_verdict(cluster, writing)


def test_row_11c_both_pools_run_full(cluster, writing):
    """With no copy left that takes the write, the guest stands still. With room again an operator names the copy that is in sync; every
    acknowledged write is there."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    fill_pool(cluster, third, peer)
    write_until(cluster, lambda: out_of(cluster, third, [home]))
    writing.wait_ok(time.monotonic(), 120)
    fill_pool(cluster, third, home)
    write_until(cluster, lambda: notes(cluster, home) >= 1)
    wait_problem(cluster, third, "there was no room in the pool", home)
    assert out_of(cluster, third, [home]), "the record lost the newest copy"
    for node in (home, peer):
        make_room(cluster, node)
        wait_level(cluster, third, node, ["ok"])
    cluster.cli(third, "guest", "reattach", "demo", "--node", home)
    wait_for("the note to go", lambda: notes(cluster, home) == 0, 120, 2)
    # It goes on by itself or is restarted by Pacemaker; after too many failures an operator starts it.
    if cluster.guest(third)["status"]["state"] == "failed":
        cluster.cli(third, "guest", "start", "demo", timeout_s=300)
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=400)
    settle_verdict(cluster, writing)


def hang(cluster, node, device):
    """Requests to the device neither end nor fail from now on."""
    cluster.lab.ssh(node, f"dmsetup suspend --noflush --nolockfs {device}", timeout_s=60)


def answer_again(cluster, node, device):
    cluster.lab.ssh(node, f"dmsetup resume {device}", timeout_s=60)


def test_row_12b_the_replicas_disk_hangs(cluster, writing):
    """The Primary waits for an answer that never comes; the replica drops out, that is recorded, and the guest goes on. Nobody is shot. When
    the disk answers again an operator has it used again."""
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    hang(cluster, peer, DEVICE)
    hung = time.monotonic()
    wait_in_sync(cluster, home, [home], 180)
    print(f"writes again {writing.wait_ok(hung + 5, 120) - hung:.0f} s after the disk stopped answering (reported, not judged)")
    wait_problem(cluster, home, f"node {peer}:", "hangs", "docs/runbook/disk-hangs.md")
    # It is given up for good before the disk is let go.
    wait_for("the replica to drop out", lambda: cluster.lab.ssh(peer, "journalctl -b --no-pager -u holdfastd | grep -c 'this copy drops out'",
                                                                check=False).stdout.strip() not in ("", "0"), 240, 2)
    wait_for("the note on the replica's node", lambda: notes(cluster, peer) >= 1, 120)
    writing.wait_ok(time.monotonic(), 60)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    nobody_was_shot(cluster)

    answer_again(cluster, peer, DEVICE)
    wait_for("status not to tell of a hung disk any more",
             lambda: not any("hangs without" in text for text in cluster.status(home)["problems"]), 120, 2)
    wait_for("DRBD to have given the connection up", lambda: any(word in cluster.lab.ssh(peer, "grep ' cs:' /proc/drbd").stdout
                                                                 for word in ("cs:StandAlone", "cs:Unconfigured")), 120, 2)
    assert cluster.guest(home)["status"]["in_sync"] == [home]
    cluster.cli(third, "guest", "reattach", "demo", "--node", peer)
    cluster.wait_guest(home, on=home, protected=True, timeout_s=300)
    assert notes(cluster, peer) == 0
    assert_comes_back(cluster, writing, home, peer, third)


def test_row_12b_the_owners_disk_hangs(cluster, writing):
    """Only the end of the owner's node frees its guest: it is shot, and the guest starts where the other copy is. The third node lives."""
    home, peer, third = place(cluster)
    writing.wait_ok(time.monotonic())
    hang(cluster, home, DEVICE)
    wait_problem(cluster, third, f"node {home}:", "hangs", "demo")
    cluster.wait_guest(third, on=peer, timeout_s=600)
    writing.wait_ok(time.monotonic(), 120)
    assert {peer, third} <= set(cluster.alive()), "a node was shot without need"
    # Powered on again its disk answers (the hang was the old life's), and the copy is taken again.
    wait_for(f"{home} to be powered on again", lambda: home in cluster.alive(), 300, 2)
    cluster.wait_guest(third, on=peer, protected=True, timeout_s=420)
    settle_verdict(cluster, writing)


def test_a_hung_pool_is_noticed_where_no_guest_writes(cluster, writing):
    """The probe's volume hangs on a node without copies: that is told, touches nobody, and ends with the hang."""
    home, _, third = place(cluster)
    wait_for("the probe to run", lambda: cluster.lab.ssh(third, f"dmsetup info -c --noheadings -o open {PROBE}", check=False).stdout.strip()
             not in ("", "0"), 120, 2)
    hang(cluster, third, PROBE)
    wait_problem(cluster, home, f"node {third}:", "hangs")
    # holdfastd itself goes on, also through a restart with its old probe still stuck.
    cluster.lab.ssh(third, "systemctl restart holdfastd", timeout_s=120)
    wait_problem(cluster, third, f"node {third}:", "hangs")
    writing.wait_ok(time.monotonic())
    answer_again(cluster, third, PROBE)
    wait_for("status not to tell of it any more",
             lambda: not any("hangs without" in text for text in cluster.status(home)["problems"]), 120, 2)
    nobody_was_shot(cluster)
    settle_verdict(cluster, writing)


def used_percent(cluster, node, name):
    return float(cluster.lab.ssh(node, f"lvs --noheadings -o data_percent holdfast/hf-{name}-0", timeout_s=60).stdout)


def qemu_io(cluster, node, name, command):
    def done():
        try:
            result = cluster.lab.ssh(node, QEMU_IO.format(name=name, command=command), timeout_s=120, check=False)
            return result.returncode == 0 and json.loads(result.stdout.splitlines()[-1])
        except (LabError, ValueError, IndexError):
            return None
    answer = wait_for(f"QEMU to do '{command}'", done, 180, 2)
    assert "return" in answer and "rror" not in str(answer["return"]), answer


def test_discarded_space_returns_to_both_pools(cluster):
    """What a guest discards is free again in the pools of both nodes."""
    node = cluster.names[0]
    cluster.cli(node, "guest", "create", "trim", "--memory", "64", "--size", "128", timeout_s=300)
    guest = cluster.wait_guest(node, name="trim", protected=True, timeout_s=300)
    home, both = guest["status"]["node"], guest["nodes"]
    empty = {each: used_percent(cluster, each, "trim") for each in both}
    qemu_io(cluster, home, "trim", "write -P 90 16M 64M")
    wait_for("both copies to have it", lambda: all(used_percent(cluster, each, "trim") > empty[each] + 40 for each in both), 60, 2)
    qemu_io(cluster, home, "trim", "discard 16M 64M")
    wait_for("both pools to have the space again", lambda: all(used_percent(cluster, each, "trim") < empty[each] + 10 for each in both), 120, 2)
