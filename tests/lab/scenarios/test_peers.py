# SPDX-License-Identifier: Apache-2.0
"""What programs that nobody here wrote say about us: Pacemaker's, etcd's, pcs, and the OCF standard's own tester."""
import pytest

AGENT = "/usr/lib/ocf/resource.d/holdfast/guest"
OCF_1_1 = "/usr/share/pcs/data/ocf-1.1.rng"


def test_peers_find_the_cluster_clean(cluster):
    node = cluster.names[0]
    assert cluster.lab.ssh(node, "crm_verify -LV 2>&1", check=False).stdout.strip() == ""
    monitor = cluster.lab.ssh(node, "crm_mon -1 --inactive").stdout
    assert "Failed" not in monitor and "UNCLEAN" not in monitor and "OFFLINE" not in monitor, monitor
    pcs = cluster.lab.ssh(node, "pcs status 2>&1", timeout_s=120).stdout
    assert f"* Online: [ {' '.join(cluster.names)} ]" in pcs, pcs
    for word in ("WARNING", "Failed", "UNCLEAN", "OFFLINE", "Stopped", "Error"):
        assert word not in pcs, pcs
    health = cluster.lab.ssh(node, "ETCDCTL_API=3 etcdctl --cacert /etc/holdfast/tls/ca.crt --cert /etc/holdfast/tls/node.crt "
                                   "--key /etc/holdfast/tls/node.key --endpoints https://10.77.0.1:2379,https://10.77.0.2:2379,"
                                   "https://10.77.0.3:2379 endpoint health 2>&1").stdout
    assert health.count("is healthy") == 3, health


@pytest.mark.full
def test_ocf_tester_finds_the_agent_compliant(cluster):
    """Debian's ocf-tester calls the agent itself, so the guest it gets is one that Pacemaker has been told to leave stopped."""
    node = cluster.names[0]
    cluster.cli(node, "guest", "create", "tested", "--memory", "64", "--size", "64", "--stopped", timeout_s=240)
    home = cluster.wait_guest(node, state="stopped", name="tested")["nodes"][0]
    result = cluster.lab.ssh(home, f"ocf-tester -n tested -o guest=tested {AGENT} 2>&1", timeout_s=300, check=False)
    print(result.stdout)
    assert result.returncode == 0 and f"{AGENT} passed all tests" in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.startswith("* rc=")]
    cluster.lab.ssh(home, f"{AGENT} meta-data | xmllint --noout --nonet --relaxng {OCF_1_1} -")
    cluster.wait_guest(node, state="stopped", name="tested")
    cluster.cli(node, "guest", "delete", "tested", timeout_s=240)
    assert cluster.running_on() and cluster.guest(node)["status"]["protected"]
