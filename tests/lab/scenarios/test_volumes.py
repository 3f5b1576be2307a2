# SPDX-License-Identifier: Apache-2.0
"""Volumes that grow under a running guest, and images that go to the node where a guest is created."""
import json
import pathlib
import time

import pytest
from holdfast_check.cluster import wait_for
from holdfast_lab.paths import REPOSITORY
from scenarios.test_power import place, settle_verdict

pytestmark = pytest.mark.full

MIB = 1024 * 1024
INVALID, NOT_FOUND, UNAVAILABLE, NO_SPACE = 2, 3, 7, 10
DEMO_IMAGE = pathlib.Path(REPOSITORY) / "build/demo-guest/demo.img"


def volume(cluster, node, name="demo-0"):
    return cluster.json(node, "volume", "show", name)


def size_mib(cluster, node, name="demo-0"):
    return volume(cluster, node, name)["size_bytes"] // MIB


def device_mib(cluster, node, path):
    return int(cluster.lab.ssh(node, f"blockdev --getsize64 {path}").stdout) // MIB


def shown_mib(cluster, node, home, name="demo-0"):
    """What the VMM on `home` shows to its guest."""
    return next(replica for replica in volume(cluster, node, name)["replicas"] if replica["node"] == home)["guest_bytes"] // MIB


def wait_operation(cluster, node, identity, timeout_s=240):
    def ended():
        result = cluster.cli(node, "op", "show", identity, "--json", check=False)
        operation = json.loads(result.stdout) if result.returncode == 0 else {}
        return operation if operation.get("state", "running") != "running" else None
    return wait_for(f"operation {identity} to end", ended, timeout_s)


def test_grows_while_it_is_written_to(cluster, writing):
    home, peer, third = place(cluster)
    boot = cluster.ask_guest("I").split()[1]
    wanted = size_mib(cluster, home) + 64
    writing.wait_ok(time.monotonic())
    operation = cluster.json(third, "volume", "grow", "demo-0", str(wanted), timeout_s=300)
    print(f"grown in {operation['duration_ms']} ms")
    assert operation["state"] == "succeeded", operation
    assert device_mib(cluster, home, "/dev/mapper/hfgate-demo-0") == wanted
    assert shown_mib(cluster, third, home) == wanted
    for node in (home, peer):
        replica = next(replica for replica in volume(cluster, third)["replicas"] if replica["node"] == node)
        assert replica["size_bytes"] == wanted * MIB, replica
    row = next(row for row in cluster.cli(third, "volume", "list").stdout.splitlines() if row.startswith("demo-0"))
    assert f" {wanted} MiB " in row, row
    assert cluster.guest(third)["spec"]["volumes"][0]["size_mib"] == wanted
    # The new area is copied to the peer, and the guest is protected again.
    cluster.wait_guest(home, on=home, protected=True, timeout_s=240)
    assert cluster.ask_guest("I").split()[1] == boot
    # Both replicas can be the guest's: it moves there and back into the grown disk.
    cluster.json(home, "guest", "migrate", "demo", peer, timeout_s=300)
    cluster.wait_guest(peer, on=peer, protected=True)
    wait_for("the moved guest to be shown the size", lambda: shown_mib(cluster, third, peer) == wanted, 60)
    settle_verdict(cluster, writing)


def test_growth_survives_the_death_of_every_holdfastd(cluster, writing):
    home, peer, third = place(cluster)
    wanted = size_mib(cluster, home) + 32
    writing.wait_ok(time.monotonic())
    identity = cluster.cli(third, "volume", "grow", "demo-0", str(wanted), "--no-wait").stdout.strip()
    for node in (home, peer, third):
        cluster.lab.ssh(node, "kill -9 $(systemctl show -p MainPID --value holdfastd)")
    assert wait_operation(cluster, third, identity)["state"] == "succeeded"
    assert device_mib(cluster, home, "/dev/mapper/hfgate-demo-0") == wanted
    assert shown_mib(cluster, third, home) == wanted
    cluster.wait_guest(home, on=home, protected=True, timeout_s=240)
    settle_verdict(cluster, writing)


def test_growing_is_refused_while_the_replicas_node_is_down(cluster, writing):
    home, peer, third = place(cluster)
    before = size_mib(cluster, home)
    cluster.lab.power(peer, "off")
    wait_for("the loss is recorded", lambda: (g := cluster.guest(home)) and g["status"]["in_sync"] == [home], 120)
    refused = cluster.cli(third, "volume", "grow", "demo-0", str(before + 64), check=False)
    assert refused.returncode == UNAVAILABLE and f"node {peer}, which has a replica, is down" in refused.stderr, refused.stderr
    assert size_mib(cluster, home) == before
    assert device_mib(cluster, home, "/dev/mapper/hfgate-demo-0") == before
    settle_verdict(cluster, writing)


def test_wrong_sizes_are_refused_and_a_stopped_guest_grows_at_its_start(cluster):
    node = cluster.names[0]
    before = size_mib(cluster, node)
    table = [
        (["demo-0", str(before - 4)], INVALID, f"has {before} MiB and cannot shrink to {before - 4}"),
        (["demo-0", str(before + 1)], INVALID, "must be a multiple of 4"),
        (["demo-0", "+1G"], INVALID, "must be a size like"),
        (["demo-0", "1T"], NO_SPACE, "MiB free of"),
        (["demo-7", "1G"], NOT_FOUND, "demo-7"),
    ]
    for words, code, text in table:
        result = cluster.cli(node, "volume", "grow", *words, check=False)
        assert result.returncode == code and text in result.stderr, f"{words}: {result.returncode}: {result.stderr}"
    assert size_mib(cluster, node) == before

    cluster.cli(node, "guest", "create", "second", "--memory", "64", "--size", "64", "--stopped", timeout_s=240)
    cluster.cli(node, "volume", "grow", "second-0", "128", timeout_s=120)
    assert "128 MiB (now 64 MiB)" in " ".join(cluster.cli(node, "volume", "list").stdout.split()).replace("67 MiB", "64 MiB")
    cluster.cli(node, "guest", "start", "second", timeout_s=240)
    home = cluster.wait_guest(node, name="second")["status"]["node"]
    wait_for("the guest to be shown the size", lambda: shown_mib(cluster, node, home, "second-0") == 128, 120)
    assert device_mib(cluster, home, "/dev/mapper/hfgate-second-0") == 128


def test_a_guest_is_created_where_its_image_is_not(cluster):
    node = cluster.names[0]
    cluster.cli(node, "guest", "create", "probe", "--memory", "128", "--size", "64", "--stopped", timeout_s=240)
    chosen = cluster.guest(node, "probe")["nodes"]
    cluster.cli(node, "guest", "delete", "probe", timeout_s=240)
    holder = next(name for name in cluster.names if name not in chosen)
    cluster.lab.copy(holder, str(DEMO_IMAGE), ":/var/lib/holdfast/far.img")
    cluster.cli(holder, "image", "import", "far", "/var/lib/holdfast/far.img", timeout_s=300)
    # Room decides where replicas go, and a tie goes to the holder: so the tie is broken.
    cluster.lab.ssh(holder, "lvcreate -y -n ballast -V 256m --thinpool pool holdfast && "
                            "dd if=/dev/urandom of=/dev/holdfast/ballast bs=1M count=200 oflag=direct", timeout_s=300)

    def pool_used(name):
        return next(n for n in cluster.status(node)["nodes"] if n["name"] == name)["status"]["pool_used_permille"]
    wait_for("the ballast to be reported", lambda: pool_used(holder) > max(pool_used(name) for name in chosen), 90)

    operation = cluster.json(node, "guest", "create", "far", "--memory", "128", "--image", "far", timeout_s=600)
    assert operation["state"] == "succeeded", operation
    guest = cluster.wait_guest(node, name="far")
    assert holder not in guest["nodes"], guest["nodes"]
    image = next(image for image in cluster.json(node, "image", "list") if image["name"] == "far")
    assert image["nodes"] == [holder, guest["nodes"][0]]
    sums = {cluster.lab.ssh(name, "sha256sum /var/lib/holdfast/images/far.raw", timeout_s=300).stdout.split()[0] for name in image["nodes"]}
    assert sums == {image["sha256"]}
    home = guest["status"]["node"]
    wait_for("the guest to boot", lambda: "recorder: ready" in cluster.lab.ssh(
        home, "cat /run/holdfast/guests/far/serial.log", check=False).stdout, 240)

    cluster.cli(node, "image", "delete", "far")
    for name in image["nodes"]:
        wait_for(f"the image to be gone from {name}",
                 lambda name=name: not cluster.lab.ssh(name, "ls -A /var/lib/holdfast/images | grep far", check=False).stdout, 30)
    assert cluster.guest(node, "far")["status"]["state"] == "running"


def test_an_image_whose_node_is_down_is_named(cluster):
    home, peer, third = place(cluster)
    cluster.lab.copy(third, str(DEMO_IMAGE), ":/var/lib/holdfast/far.img")
    cluster.cli(third, "image", "import", "far", "/var/lib/holdfast/far.img", timeout_s=300)
    cluster.lab.power(third, "off")
    wait_for(f"{third} to be gone", lambda: not next(n for n in cluster.status(home)["nodes"] if n["name"] == third)["online"], 120)
    refused = cluster.cli(home, "guest", "create", "far", "--memory", "64", "--image", "far", check=False)
    assert refused.returncode == UNAVAILABLE and f"'far' is only on {third}, which is down" in refused.stderr, refused.stderr
    assert [guest["name"] for guest in cluster.status(peer)["guests"]] == ["demo"]
