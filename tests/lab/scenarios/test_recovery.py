# SPDX-License-Identifier: Apache-2.0
"""How guests are recovered: order and company, the restart limit and the way out of it, admission control, and what is told afterwards."""
import time

import pytest
from holdfast_check.cluster import wait_for
from scenarios.test_power import place, settle_verdict

pytestmark = pytest.mark.full

REFUSED, NO_SPACE = 9, 10
HOST_RESERVE_MIB = 512


def constraint(cluster, node, identity):
    """The constraint as Pacemaker has it, "" while there is none."""
    result = cluster.lab.ssh(node, f"cibadmin --query --xpath \"//constraints/*[@id='{identity}']\"", check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def kill_vmm(cluster, node, name="demo"):
    cluster.lab.ssh(node, f"systemctl kill -s KILL holdfast-guest@{name}.service")


def test_company_order_and_the_recovery_that_is_told(cluster, writing):
    home, peer, third = place(cluster)
    cluster.cli(third, "guest", "create", "side", "--memory", "64", "--size", "8", "--priority", "1", "--start-after", "demo",
                "--keep-apart", "demo")
    side = cluster.wait_guest(third, name="side")
    assert side["nodes"][0] == third, "the planner did not keep it away from demo's nodes"
    assert side["status"]["node"] != home
    order = wait_for("the order in the CIB", lambda: constraint(cluster, third, "hf-order.side.demo"), 60, 1)
    assert 'kind="Optional"' in order and 'symmetrical="false"' in order, order
    assert 'score="-10"' in wait_for("the company in the CIB", lambda: constraint(cluster, third, "hf-place.side.demo"), 60, 1)
    assert cluster.lab.ssh(third, "crm_verify --live-check -V", check=False).returncode == 0
    # A rule among guests is taken back like any other, and a circle is refused with the way out.
    refused = cluster.cli(third, "guest", "set", "demo", "start_after=side", check=False)
    assert refused.returncode == REFUSED and "'side' starts after 'demo' already" in refused.stderr, refused.stderr
    cluster.cli(third, "guest", "set", "side", "start_after=")
    wait_for("the order to leave the CIB", lambda: not constraint(cluster, third, "hf-order.side.demo"), 60, 1)
    writing.wait_ok(time.monotonic())
    cluster.lab.power(home, "off")
    writing.wait_ok(time.monotonic(), 400)
    cluster.wait_guest(third, on=peer)

    def told():
        recoveries = cluster.json(third, "guest", "show", "demo").get("recoveries", [])
        return recoveries and recoveries[0].get("recovery_ms") and recoveries[0]
    recovery = wait_for("the recovery to be told", told, 120, 2)
    print(f"running {recovery['recovery_ms']} ms after detection, {recovery['outage_ms']} ms after the loss (reported, not judged)")
    assert (recovery["from"], recovery["to"]) == (home, peer)
    assert recovery["outage_ms"] >= recovery["recovery_ms"]
    assert f"{home} to {peer}, running" in cluster.cli(third, "guest", "show", "demo").stdout
    cluster.cli(third, "guest", "stop", "side", "--force")  # the verdict counts Primaries of the demo guest alone
    settle_verdict(cluster, writing)


def test_restart_limit_and_the_way_out(cluster, writing):
    home, peer, third = place(cluster)
    cluster.cli(third, "guest", "set", "demo", "restart_limit=1", "restart_window_s=3600")
    wait_for("the limit in the CIB", lambda: cluster.lab.ssh(
        third, ["crm_resource", "--resource", "demo", "--meta", "--get-parameter", "migration-threshold"], check=False).stdout.strip() == "1",
        60, 1)
    writing.wait_ok(time.monotonic())
    kill_vmm(cluster, home)
    guest = cluster.wait_guest(third, on=peer)
    assert any("restart limit reached: it failed 1 time on " + home in text for text in guest["status"]["conditions"]), guest["status"]
    writing.wait_ok(time.monotonic())
    kill_vmm(cluster, peer)
    guest = cluster.wait_guest(third, state="failed")
    assert cluster.running_on() == []
    text = next(text for text in guest["status"]["conditions"] if "restart limit reached" in text)
    assert f"1 time on {home}" in text and f"1 time on {peer}" in text and "'holdfast guest start demo'" in text, text
    assert any("guest demo failed" in problem for problem in cluster.status(third)["problems"])
    cluster.cli(third, "guest", "start", "demo")
    guest = cluster.wait_guest(third)
    assert not any("restart limit" in text for text in guest["status"]["conditions"]), guest["status"]
    writing.wait_ok(time.monotonic())
    settle_verdict(cluster, writing)


def test_admission_refuses_with_figures(cluster, writing):
    home, _, third = place(cluster)
    room = max(node["status"]["memory_mib"] for node in cluster.json(third, "node", "list")) - HOST_RESERVE_MIB
    refused = cluster.cli(third, "guest", "create", "big", "--memory", str(room + 1), "--size", "8", check=False)
    assert refused.returncode == NO_SPACE and f"this guest needs {room + 1} MiB" in refused.stderr, refused.stderr
    assert cluster.guest(third, "big") is None
    # What runs keeps its memory; what is stopped may be given more only as long as it fits.
    running = cluster.cli(third, "guest", "set", "demo", f"memory={room + 1}", check=False)
    assert running.returncode == REFUSED and "'holdfast guest stop demo' first" in running.stderr, running.stderr
    cluster.cli(third, "guest", "create", "side", "--memory", "64", "--size", "8", "--stopped")
    cluster.wait_guest(third, state="stopped", name="side")
    larger = cluster.cli(third, "guest", "set", "side", f"memory={room + 1}", check=False)
    assert larger.returncode == NO_SPACE and "with the loss of any one node in reserve" in larger.stderr, larger.stderr
    cluster.cli(third, "guest", "set", "side", "memory=96")
    cluster.cli(third, "guest", "start", "side")
    assert cluster.wait_guest(third, name="side")["spec"]["memory_mib"] == 96
    writing.wait_ok(time.monotonic())
    assert cluster.running_on() == [home]
    cluster.cli(third, "guest", "stop", "side", "--force")  # the verdict counts Primaries of the demo guest alone
    settle_verdict(cluster, writing)
