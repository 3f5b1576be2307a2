# SPDX-License-Identifier: Apache-2.0
"""What people get wrong, or ask for at a bad moment: a clear text naming the field, the right exit status, and nothing left behind."""
from concurrent.futures import ThreadPoolExecutor

import pytest
from holdfast_check.cluster import wait_for

INVALID, NOT_FOUND, EXISTS, REFUSED, NO_SPACE = 2, 3, 4, 9, 10


def leftovers(cluster, name):
    """Everything a refused guest could have left on any node."""
    script = f"lvs --noheadings -o lv_name holdfast | grep -c 'hf-{name}-' ; grep -c '{name}' /dev/null ; " \
             f"ls /var/lib/holdfast/guests | grep -c '^{name}.json' ; dmsetup ls | grep -c 'hfgate-{name}-'; true"
    return {node: cluster.lab.ssh(node, script).stdout.split() for node in cluster.names}


def test_bad_input_is_refused_and_leaves_nothing(cluster):
    node = cluster.names[0]
    cluster.lab.ssh(node, "echo 'this is no disk image' > /tmp/note.txt")
    table = [
        (["guest", "create", "bad1", "--memory", "0", "--size", "64"], INVALID, "memory_mib"),
        (["guest", "create", "Bad_Name", "--memory", "64", "--size", "64"], INVALID, "name"),
        (["guest", "create", "bad1", "--memory", "64", "--size", "64", "--replicas", "7"], INVALID, "replicas"),
        (["guest", "create", "bad1", "--memory", "64", "--image", "nosuch"], NOT_FOUND, "image"),
        (["guest", "create", "bad1", "--memory", "64", "--size", "64", "--network", "nosuch"], NOT_FOUND, "network"),
        (["guest", "create", "bad1", "--memory", "64", "--size", "1048576"], NO_SPACE, "MiB"),
        (["guest", "create", "demo", "--memory", "64", "--size", "64"], EXISTS, "demo"),
        (["guest", "show", "nosuch"], NOT_FOUND, "nosuch"),
        (["guest", "migrate", "demo", "n9"], NOT_FOUND, "n9"),
        (["node", "standby", "n9"], NOT_FOUND, "n9"),
        (["guest", "delete", "demo"], REFUSED, "stop"),
        (["image", "import", "note", "/tmp/note.txt"], INVALID, "image"),
    ]
    for words, code, text in table:
        result = cluster.cli(node, *words, check=False)
        said = result.stderr + result.stdout
        assert result.returncode == code, f"holdfast {' '.join(words)}: status {result.returncode}, wanted {code}: {said}"
        assert text in said, f"holdfast {' '.join(words)} does not say '{text}': {said}"
    assert all(set(counts) == {"0"} for counts in leftovers(cluster, "bad1").values())
    assert [guest["name"] for guest in cluster.status(node)["guests"]] == ["demo"]


@pytest.mark.parametrize("after_s", [1.5, pytest.param(4.0, marks=pytest.mark.full)])
def test_creation_killed_half_way_converges(cluster, after_s):
    """The daemon of the initialising node is killed while it builds the replica: the guest gets ready all the same."""
    node = cluster.names[0]
    cluster.cli(node, "guest", "create", "second", "--memory", "64", "--size", "64", "--stopped", "--no-wait")
    home = cluster.guest(node, "second")["nodes"][0]
    cluster.lab.ssh(home, f"sleep {after_s}; kill -9 $(systemctl show -p MainPID --value holdfastd)")
    cluster.wait_guest(node, state="stopped", name="second", timeout_s=240)
    cluster.cli(node, "guest", "delete", "second", timeout_s=240)
    assert all(set(counts) == {"0"} for counts in leftovers(cluster, "second").values())


def create_at_once(cluster, names):
    """`guest create` of names[i] through node i, all at the same moment; the results."""
    def create(pair):
        node, name = pair
        return cluster.cli(node, "guest", "create", name, "--memory", "64", "--size", "64", "--stopped", "--no-wait", check=False)
    for node in cluster.names:
        cluster.lab.ssh(node, "true")  # connections are open before
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(create, zip(cluster.names, names)))


@pytest.mark.full
def test_clients_create_at_once(cluster):
    """Of three creations of one name one wins and the others hear who has it; three names get three different places."""
    node = cluster.names[0]
    results = create_at_once(cluster, ["twin"] * 3)
    assert sorted(result.returncode for result in results) == [0, EXISTS, EXISTS], [result.stderr for result in results]
    assert all("there is a guest 'twin' already" in result.stderr for result in results if result.returncode)
    cluster.wait_guest(node, state="stopped", name="twin", timeout_s=240)
    several = ["one", "two", "three"]
    results = create_at_once(cluster, several)
    assert [result.returncode for result in results] == [0, 0, 0], [result.stderr for result in results]
    for name in several:
        cluster.wait_guest(node, state="stopped", name=name, timeout_s=300)
    for name in cluster.names:  # any two guests share a node here
        slots = cluster.lab.ssh(name, "grep -ho '\"slot\":[ 0-9]*' /var/lib/holdfast/guests/*.json").stdout.splitlines()
        assert len(slots) >= 2 and len(slots) == len(set(slots)), slots


@pytest.mark.full
def test_engine_kvm_is_refused_without_kvm_and_emulation_is_told(cluster):
    node = cluster.names[0]
    for name in cluster.names:
        cluster.lab.ssh(name, "rmmod kvm_amd kvm_intel kvm 2>/dev/null; rm -f /dev/kvm; true")
    wait_for("the nodes say that they have no KVM", lambda: not any(each["status"]["kvm"] for each in cluster.status(node)["nodes"]), 60)
    result = cluster.cli(node, "guest", "create", "bad1", "--memory", "64", "--size", "64", "--engine", "kvm", check=False)
    assert result.returncode == REFUSED and "it has no KVM, which engine 'kvm' asks for" in result.stderr, result.stderr
    assert all(set(counts) == {"0"} for counts in leftovers(cluster, "bad1").values())
    assert "EMULATED: its node has no KVM" in cluster.cli(node, "guest", "show", "demo").stdout
    assert "NO: guests are emulated" in cluster.cli(node, "node", "show", node).stdout


# One page into each chunk of a new thin volume: all its space is taken from the pool, and little is written.
FILL = """lvcreate -q -y -V {mib}M --thinpool holdfast/pool -n filler >/dev/null && python3 -c "
import os
volume = os.open('/dev/holdfast/filler', os.O_WRONLY)
for position in range(0, {mib} << 20, 65536):
    os.pwrite(volume, bytes(4096), position)
os.fsync(volume)
" """


@pytest.mark.full
def test_creation_with_full_pools(cluster):
    """Two of three pools are over the limit: a guest with two replicas is refused with the figures, one with one replica still fits."""
    node = cluster.names[0]
    full = cluster.names[:2]
    for name in full:
        cluster.lab.ssh(name, FILL.format(mib=7600), timeout_s=400)
    wait_for("both pools are reported full", lambda: all(each["status"]["pool_used_permille"] >= 900 for each in cluster.status(node)["nodes"]
                                                         if each["name"] in full), 120, 2)
    result = cluster.cli(node, "guest", "create", "bad1", "--memory", "64", "--size", "64", check=False)
    assert result.returncode == NO_SPACE, result.stderr
    assert "spec.replicas" in result.stderr and "full" in result.stderr, result.stderr
    assert all(set(counts) == {"0"} for counts in leftovers(cluster, "bad1").values())
    cluster.cli(node, "guest", "create", "small", "--memory", "64", "--size", "64", "--replicas", "1", "--stopped", timeout_s=240)
    assert cluster.wait_guest(node, state="stopped", name="small")["nodes"] == [cluster.names[2]]
    for name in full:
        cluster.lab.ssh(name, "lvremove -q -y holdfast/filler", timeout_s=120)
    wait_for("there is space again", lambda: cluster.cli(node, "guest", "create", "large", "--memory", "64", "--size", "64", "--stopped",
                                                         check=False).returncode == 0, 120, 5)
