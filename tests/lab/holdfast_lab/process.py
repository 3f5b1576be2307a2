# SPDX-License-Identifier: Apache-2.0
"""A process is its number AND its start time: a number alone may belong to somebody else by now.

The BMC helper imports this on every IPMI request, so it imports little."""

import os
import select
import signal


def start_time(pid):
    """Start time of a living process in clock ticks since boot, or None. A zombie has released all it held: gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2:].split()   # the name before may hold spaces and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def record(path, pid):
    """Note a process we started. False when it is already gone."""
    started = start_time(pid)
    if started is None:
        return False
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="ascii") as file:
        file.write(f"{pid} {started}\n")
    os.rename(temporary, path)
    return True


def recorded(path):
    """The number of the recorded process if that very process still lives, else None."""
    try:
        with open(path, encoding="ascii") as file:
            pid, started = (int(word) for word in file.read().split())
    except (OSError, ValueError):
        return None
    return pid if start_time(pid) == started else None


def forget(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def kill_recorded(path, timeout_s=10.0):
    """SIGKILL the recorded process; return only when it is gone. True when there was one to kill."""
    pid = recorded(path)
    if pid is None:
        forget(path)
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        forget(path)
        return False
    try:
        # The handle pins the process: check once more through it, then the number cannot change hands.
        if recorded(path) == pid:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        wait_gone(handle, pid, timeout_s)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)
    forget(path)
    return True


def wait_gone(handle, pid, timeout_s):
    """A pidfd polls readable when the last thread has ended, its memory and files released."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(timeout_s * 1000):
        raise TimeoutError(f"process {pid} was killed but is not gone after {timeout_s} s")
