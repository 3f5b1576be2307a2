#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client that writes numbered records to the demo guest and keeps its own history, outside the cluster it judges.

writer.py ADDRESS PORT HISTORY CLIENT: a JSON object per line in HISTORY: {"t": monotonic s, "op": "invoke"|"ok"|"refused"|"unknown"|"connect"|
"lost", "seq": n}. A sequence number is used once: what got no answer stays unknown for ever, and the checker allows it to be there or
not. Ends on SIGTERM.

A guest that stands still (a live migration) keeps its connections, one that was restarted has forgotten them. So while an answer is awaited the
writer asks over a second connection which instance is there, and gives the write up only when it is another one."""

import json
import os
import signal
import socket
import sys
import time

ANSWER_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 0.5
PROBE_AFTER_S = 0.5
PAUSE_S = 0.1


class Writer:
    def __init__(self, address, port, history, client):
        self.target, self.client = (address, port), client
        self.log = os.open(history, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self.connection, self.buffer, self.seq, self.ending, self.instance = None, b"", 0, False, None

    def note(self, op, **details):
        line = json.dumps({"t": round(time.monotonic(), 4), "op": op, **details})
        os.write(self.log, line.encode() + b"\n")

    def connect(self):
        try:
            self.connection = socket.create_connection(self.target, CONNECT_TIMEOUT_S)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.settimeout(PROBE_AFTER_S)
            self.buffer = b""
            self.instance = self.instance_now()
            if self.instance is None:
                raise OSError("no instance")
            self.note("connect")
        except OSError:
            if self.connection:
                self.connection.close()
                self.connection = None
            time.sleep(PAUSE_S)

    def instance_now(self):
        """The recorder's instance, over a connection of its own; None while nobody answers."""
        try:
            with socket.create_connection(self.target, CONNECT_TIMEOUT_S) as probe:
                probe.settimeout(CONNECT_TIMEOUT_S * 4)
                probe.sendall(b"I\n")
                return probe.makefile().readline().split()[4]
        except (OSError, IndexError):
            return None

    def receive(self):
        """Bytes of the answer; OSError when the instance that owes it is gone, or after a long time."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return self.connection.recv(4096)
            except TimeoutError:
                now = self.instance_now()
                if (now is not None and now != self.instance) or time.monotonic() > deadline:
                    raise

    def drop(self, why):
        self.connection.close()
        self.connection = None
        self.note("lost", why=str(why))

    def answer(self):
        while b"\n" not in self.buffer:
            data = self.receive()
            if not data:
                raise OSError("connection closed")
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace").split()

    def write_one(self):
        self.seq += 1
        self.note("invoke", seq=self.seq)
        try:
            self.connection.sendall(f"W {self.client} {self.seq} p{self.seq}\n".encode())
            words = self.answer()
        except OSError as error:
            self.note("unknown", seq=self.seq)
            self.drop(error)
            return
        if words[:3] == ["A", self.client, str(self.seq)]:
            self.note("ok", seq=self.seq)
        else:
            self.note("refused", seq=self.seq, answer=" ".join(words))

    def run(self):
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "ending", True))
        while not self.ending:
            if not self.connection:
                self.connect()
            else:
                self.write_one()
                time.sleep(PAUSE_S)


if __name__ == "__main__":
    Writer(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]).run()
