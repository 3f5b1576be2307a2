# SPDX-License-Identifier: Apache-2.0
"""The lab's own record of what was done to the cluster and when: events.jsonl.

The demonstration computes fail-over times from it; `monotonic` is comparable between all processes
of this boot, `time` is the wall clock (seconds since 1970)."""

import json
import os
import time


def append(path, kind, **details):
    line = json.dumps({"time": round(time.time(), 4), "monotonic": round(time.monotonic(), 4),
                       "kind": kind, **details})
    # One write on O_APPEND: lines of several processes never mix.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]
    except FileNotFoundError:
        return []
