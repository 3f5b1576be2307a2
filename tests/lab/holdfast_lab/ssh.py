# SPDX-License-Identifier: Apache-2.0
"""Commands and files into nodes. One connection per node is kept open and shared by all commands: opening
one costs an emulated node a second."""

import contextlib
import subprocess
import threading
import time

from . import addresses, process
from .errors import LabError
from .run import run


class Ssh:
    def __init__(self, lab, network):
        self.lab = lab
        self.network = network

    def options(self, node):
        return ["-i", str(self.lab.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20",
                "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6", "-o", "ControlMaster=auto",
                "-o", "ControlPersist=300", "-o", f"ControlPath={self.lab.node(node['name']).ssh_socket}"]

    def argv(self, node, command, tty=False):
        """ssh's argument list; command is a list of words for the node's shell, as with ssh itself."""
        if not process.recorded(self.lab.node(node["name"]).qemu):
            raise LabError(f"{node['name']} is powered off: 'lab power {node['name']} on' starts it")
        return self.network.enter("ssh", *(["-t"] if tty else []), *self.options(node),
                                  f"root@{addresses.address('ring0', node['number'])}", *command)

    def run(self, node, command, timeout_s=60, check=True, text=None):
        """Run a command; returns a CompletedProcess with text. The master connection must not hold our pipes."""
        self.open(node, timeout_s)
        return run(*self.argv(node, command), timeout_s=timeout_s, check=check, text=text)

    def open(self, node, timeout_s=30):
        """Start the shared connection unless it is there. Raises LabError when the node does not answer in time; a busy machine may refuse
        several times before."""
        argv = self.argv(node, [])
        if subprocess.run([*argv, "-O", "check"], capture_output=True, check=False).returncode == 0:
            return
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self.close(node)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # -f puts the master in the background after authentication; DEVNULL, for it keeps what it is given.
                if subprocess.run([*self.argv(node, []), "-N", "-f"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, timeout=left, check=False).returncode == 0:
                    return
            time.sleep(0.5)
        raise LabError(f"{node['name']} does not answer ssh within {timeout_s:.0f} s")

    def close(self, node):
        """Forget the shared connection: needed whenever the node's end of it has vanished."""
        socket = self.lab.node(node["name"]).ssh_socket
        if socket.exists():
            subprocess.run([*self.network.enter("ssh"), "-o", f"ControlPath={socket}", "-O", "exit", "node"],
                           capture_output=True, check=False, timeout=10)
            socket.unlink(missing_ok=True)

    def wait(self, node, deadline):
        """True when the node answers before the deadline (monotonic)."""
        while time.monotonic() < deadline:
            try:
                self.open(node, timeout_s=max(1.0, min(20.0, deadline - time.monotonic())))
                return True
            except LabError:
                if not process.recorded(self.lab.node(node["name"]).qemu):
                    return False
                time.sleep(0.5)
        return False

    def copy(self, node, source, target):
        """scp; the side in the node begins with ':'."""
        self.open(node)
        host = f"root@{addresses.address('ring0', node['number'])}"
        words = [host + word if word.startswith(":") else word for word in (str(source), str(target))]
        if words == [str(source), str(target)]:
            words[1] = f"{host}:{target}"             # plain SRC DST copies into the node
        run(*self.network.enter("scp", "-r", *self.options(node), *words), timeout_s=600)

    def set_clock(self, node, timeout_s=180):
        """Give the node the host's wall clock: after a restore it is behind by the age of the saved state."""
        if not self.wait(node, time.monotonic() + timeout_s):     # a busy machine: the first try may take too long
            raise LabError(f"{node['name']} does not answer ssh")
        # The shell in the node reports that it waits before the time is taken: a start there takes half a second.
        argv = self.argv(node, ["echo ready; read now && date -u -s @$now"])
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True) as shell:
            alarm = threading.Timer(timeout_s, shell.kill)
            alarm.start()
            try:
                shell.stdout.readline()
                shell.communicate(f"{time.time():.3f}\n")
            except BrokenPipeError:
                pass
            finally:
                alarm.cancel()
        if shell.returncode != 0:
            raise LabError(f"setting the clock of {node['name']} failed")

    def uptime_s(self, node):
        return float(self.run(node, ["cat /proc/uptime"]).stdout.split()[0])
