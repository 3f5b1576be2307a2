# SPDX-License-Identifier: Apache-2.0
"""Row 15: a disk returns other data than was written to it, and nobody below notices. The comparison does."""
import time

import pytest
from scenarios.test_power import place, settle_verdict

pytestmark = pytest.mark.full


def conditions(cluster, node):
    return " | ".join(cluster.guest(node)["status"]["conditions"])


def test_row_15_silent_corruption_is_found_and_repaired(cluster, writing):
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    writing.wait_ok(time.monotonic())
    operation = cluster.json(third, "guest", "verify", "demo", timeout_s=300)
    assert operation["state"] == "succeeded", operation
    assert "differed" not in conditions(cluster, third)

    # Below DRBD, in the replica's last blocks, which the guest does not write to.
    size = int(cluster.lab.ssh(home, "blockdev --getsize64 /dev/mapper/hfgate-demo-0").stdout)
    cluster.lab.ssh(peer, f"dd if=/dev/urandom of=/dev/holdfast/hf-demo-0 bs=4096 count=2 seek={size // 4096 - 8} oflag=direct conv=notrunc")
    found = cluster.cli(third, "guest", "verify", "demo", check=False, timeout_s=300)
    assert found.returncode != 0 and "the copies differ in 8 KiB" in found.stderr, found.stderr
    assert "differed in 8 KiB" in conditions(cluster, third)
    writing.wait_ok(time.monotonic(), 60)

    cluster.cli(third, "guest", "verify", "demo", "--repair", timeout_s=600)
    assert "differed" not in conditions(cluster, third)
    cluster.wait_guest(third, on=home, protected=True, timeout_s=240)
    assert cluster.ask_guest("I").split()[1] == boot, "the guest was restarted"
    assert sorted(cluster.alive()) == sorted(cluster.names), "a node was shot without need"
    settle_verdict(cluster, writing)
