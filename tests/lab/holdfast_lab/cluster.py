# SPDX-License-Identifier: Apache-2.0
"""Does Holdfast in the nodes say it is a cluster? Pure over the text that `holdfast status --json` printed."""

import json


def parse_status(text):
    """The status document, or None when the program printed none (it may not be there yet)."""
    try:
        document = json.loads(text)
    except ValueError:
        return None
    if isinstance(document, dict) and isinstance(document.get("result"), dict):
        document = document["result"]
    return document if isinstance(document, dict) and isinstance(document.get("nodes"), list) else None


def missing(status, names, witness=False):
    """What a node's status still lacks for a whole cluster of these nodes, as text; None when nothing."""
    if status is None:
        return "no answer from holdfast"
    if not status.get("quorate"):
        return "no quorum"
    if not status.get("dc"):
        return "Pacemaker has not chosen a DC"  # until then "online" is corosync's word only
    online = {node.get("name") for node in status["nodes"] if node.get("online")}
    absent = [name for name in names if name not in online]
    if absent:
        return f"{', '.join(absent)} not online"
    seen = status.get("witness") or {}
    return "the witness does not vote" if witness and not (seen.get("voting") and seen.get("store")) else None


def unproven(status, names):
    """Nodes of which fencing has not been proven."""
    states = {node.get("name"): (node.get("fencing") or {}).get("state") for node in (status or {}).get("nodes", [])}
    return [name for name in names if states.get(name) != "proven"]
