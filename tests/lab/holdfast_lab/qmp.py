# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor protocol, as much as the lab needs."""

import json
import socket
import time

from .errors import LabError


class Qmp:
    def __init__(self, path, timeout_s=30):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        try:
            self.socket.connect(str(path))
            self.file = self.socket.makefile("rw")
            self.file.readline()
            self("qmp_capabilities")
        except OSError as error:
            self.socket.close()
            raise LabError(f"QEMU does not answer on {path}: {error}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:                                  # events may come in between
            line = self.file.readline()
            if not line:
                raise LabError(f"QEMU closed {self.path} during {command}")
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise LabError(f"QEMU refused {command} on {self.path}: {answer['error']['desc']}")

    def wait_migrated(self, deadline):
        while True:
            answer = self("query-migrate")
            if answer.get("status") == "completed":
                return
            if answer.get("status") in ("failed", "cancelled"):
                raise LabError(f"saving the memory through {self.path} failed: {answer.get('error-desc', answer)}")
            if time.monotonic() > deadline:
                raise LabError(f"saving the memory through {self.path} took too long")
            time.sleep(0.05)

    def wait_loaded(self, deadline):
        while self("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                raise LabError(f"loading the memory through {self.path} took too long")
            time.sleep(0.05)
