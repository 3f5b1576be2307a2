# SPDX-License-Identifier: Apache-2.0
"""Judge a writer's history against what the guest says it has. Pure."""

import json


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def parse_dump(text):
    """Records of the answer to "R": [(number, client, seq, payload)]; the count in the last line must agree."""
    lines = text.strip().splitlines()
    if not lines or lines[-1].split()[0] != "E":
        raise ValueError("the dump has no end line")
    records = []
    for line in lines[:-1]:
        number, client, seq, payload = line.split(" ", 3)
        records.append((int(number), client, int(seq), payload))
    if len(records) != int(lines[-1].split()[1]):
        raise ValueError("the dump's count does not agree with its records")
    return records


def judge(history, records, client):
    """{"acked", "lost", "duplicated", "foreign", "out_of_order"}: everything but acked must be 0."""
    acked = [entry["seq"] for entry in history if entry["op"] == "ok"]
    invoked = {entry["seq"] for entry in history if entry["op"] == "invoke"}
    mine = [(number, seq, payload) for number, who, seq, payload in records if who == client]
    present = [seq for _, seq, _ in mine]
    return {
        "acked": len(acked),
        "lost": len(set(acked) - set(present)),
        "duplicated": len(present) - len(set(present)),
        "foreign": sum(1 for _, seq, payload in mine if seq not in invoked or payload != f"p{seq}"),
        "out_of_order": sum(1 for before, after in zip(present, present[1:]) if after <= before),
    }


def failed(history):
    """Writes that were refused or got no answer, and connections that broke: what a client would notice of a migration."""
    return sum(1 for entry in history if entry["op"] in ("unknown", "refused", "lost"))


def first_ok_after(history, moment):
    return next((entry["t"] for entry in history if entry["op"] == "ok" and entry["t"] > moment), None)


def last_ok_before(history, moment):
    return next((entry["t"] for entry in reversed(history) if entry["op"] == "ok" and entry["t"] < moment), None)


def longest_gap(history, begin, end):
    """Longest time between two acknowledgements within [begin, end], in seconds."""
    times = [entry["t"] for entry in history if entry["op"] == "ok" and begin <= entry["t"] <= end]
    return max((after - before for before, after in zip(times, times[1:])), default=None)
