# SPDX-License-Identifier: Apache-2.0
"""What people get wrong: a clear text naming the field, the right exit status, and nothing left behind. And peers find the cluster clean."""
import pytest

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


def test_peers_find_the_cluster_clean(cluster):
    node = cluster.names[0]
    assert cluster.lab.ssh(node, "crm_verify -LV 2>&1", check=False).stdout.strip() == ""
    monitor = cluster.lab.ssh(node, "crm_mon -1 --inactive").stdout
    assert "Failed" not in monitor and "UNCLEAN" not in monitor and "OFFLINE" not in monitor, monitor
    health = cluster.lab.ssh(node, "ETCDCTL_API=3 etcdctl --cacert /etc/holdfast/tls/ca.crt --cert /etc/holdfast/tls/node.crt "
                                   "--key /etc/holdfast/tls/node.key --endpoints https://10.77.0.1:2379,https://10.77.0.2:2379,"
                                   "https://10.77.0.3:2379 endpoint health 2>&1").stdout
    assert health.count("is healthy") == 3, health


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
