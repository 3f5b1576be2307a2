# SPDX-License-Identifier: Apache-2.0
"""The black box: after a power cut the survivors tell what happened, with what the dead node itself said last."""
import json
import pathlib
import uuid

import pytest

from holdfast_check.cluster import wait_for
from holdfast_lab.paths import REPOSITORY
from scenarios.test_power import place

pytestmark = pytest.mark.full


def incidents(cluster, node):
    return cluster.json(node, "incident", "list")


def incident_of(cluster, survivor, node):
    """The newest incident of `node`, in full, or None."""
    found = next((one for one in incidents(cluster, survivor) if one["node"] == node), None)
    return found and cluster.json(survivor, "incident", "show", found["id"])


def own_words(incident, node):
    return [line["text"] for line in incident["timeline"] if line["node"] == node and line["dead"]]


def test_the_survivors_tell_the_story_of_a_power_cut(cluster):
    home, peer, third = place(cluster)
    before = {one["id"] for one in incidents(cluster, peer)}
    # Its last words: journald has not put them on the disk yet when the power goes, so only the peers can know them.
    mark = f"last words {uuid.uuid4().hex}"
    cluster.lab.ssh(home, ["logger", "-t", "holdfastd", mark])

    def streamed():
        grep = f"grep -l '{mark}' /var/lib/holdfast/blackbox/{home}.log"
        return all(cluster.lab.ssh(node, grep, check=False).returncode == 0 for node in (peer, third))
    wait_for("the last words have reached both peers", streamed, 60, 1)
    cluster.lab.power(home, "off")
    cluster.wait_guest(peer, on=peer, timeout_s=300)
    cluster.wait_guest(peer, on=peer, protected=True, timeout_s=420)
    incident = wait_for("the incident is over", lambda: (i := incident_of(cluster, peer, home)) and i["state"] == "over" and i, 240, 2)
    folder = pathlib.Path(REPOSITORY) / "build" / "tests" / "lab" / "incident"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "incident.json").write_text(json.dumps(incident, indent=2))
    (folder / "incident.txt").write_text(cluster.cli(peer, "incident", "show", incident["id"]).stdout)

    assert incident["id"] not in before
    assert incident["reason"]["kind"] == "silent"
    assert incident["reason"]["certain"] is False and incident["not_known"]
    assert incident["fence"]["device"] == f"fence-{home}"
    assert incident["fence"]["done_by"] in (peer, third)
    assert incident["fence"]["duration_ms"] > 0
    demo = next(guest for guest in incident["guests"] if guest["name"] == "demo")
    assert (demo["what"], demo["from"], demo["to"]) == ("moved", home, peer)
    assert demo["generation"] > 0 and demo["in_sync_at"] > demo["started_at"] > demo["claimed_at"]
    assert incident["return"]["member_at"] > incident["return"]["powered_on_at"] > incident["fence"]["done_at"]
    # Durations add up, and to what the guest's own entry says.
    assert [phase["name"] for phase in incident["phases"]] == ["notice", "decide", "fence", "start guests"]
    assert sum(phase["ms"] for phase in incident["phases"]) == incident["outage_ms"] == demo["outage_ms"]
    assert all(phase["ms"] >= 0 for phase in incident["phases"])
    assert mark in own_words(incident, home)
    # In order, and the other survivor tells the same story under the same name.
    moments = [line["ms"] for line in incident["timeline"]]
    assert moments == sorted(moments)
    other = cluster.json(third, "incident", "show", incident["id"])
    assert mark in own_words(other, home)
    assert (other["fence"]["device"], other["reason"]["kind"]) == (incident["fence"]["device"], "silent")
    assert abs(other["outage_ms"] - incident["outage_ms"]) < 3000
    # The node that was cut knows less, but it goes on streaming: what it says now reaches the peers again.
    again = f"back again {uuid.uuid4().hex}"
    cluster.lab.ssh(home, ["logger", "-t", "holdfastd", again])
    grep = f"grep -c '{again}' /var/lib/holdfast/blackbox/{home}.log"
    wait_for("it streams again, each line once", lambda: cluster.lab.ssh(third, grep, check=False).stdout.strip() == "1", 60, 1)
