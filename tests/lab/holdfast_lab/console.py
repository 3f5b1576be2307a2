# SPDX-License-Identifier: Apache-2.0
"""Attach a terminal to a node's serial line; Ctrl-] leaves."""

import os
import select
import socket
import sys
import termios
import tty

from .errors import LabError

LEAVE = b"\x1d"


def attach(path):
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(str(path))
    except OSError as error:
        raise LabError(f"no serial line at {path}: {error}; is the node powered on?") from None
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    print("attached; Ctrl-] leaves", file=sys.stderr)
    try:
        if before:
            tty.setraw(keyboard)
        _pump(line, keyboard)
    finally:
        if before:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        line.close()


def _pump(line, keyboard):
    while True:
        ready, _, _ = select.select([line, keyboard], [], [])
        if line in ready:
            data = line.recv(4096)
            if not data:
                return
            os.write(1, data)
        if keyboard in ready:
            data = os.read(keyboard, 4096)
            if not data or LEAVE in data:
                return
            line.sendall(data)
