# SPDX-License-Identifier: Apache-2.0
"""The cluster as an operator and a client see it: the CLI in the nodes, the demo guest over its network."""

import json
import pathlib
import subprocess
import sys
import time

from holdfast_lab.errors import LabError

from . import history

HERE = pathlib.Path(__file__).resolve().parent
GUEST_ADDRESS, GUEST_PORT = "10.77.2.50", 7000


class CliError(Exception):
    """`holdfast` ended with another status than 0."""

    def __init__(self, words, result):
        self.code, self.text = result.returncode, (result.stderr + result.stdout).strip()
        super().__init__(f"holdfast {' '.join(words)}: status {self.code}: {self.text}")


def wait_for(what, test, timeout_s, pause_s=0.5):
    """Poll test() until it returns something true; that is returned. A deadline, not a timing assertion."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(pause_s)


class Cluster:
    def __init__(self, lab):
        self.lab = lab

    # -- the CLI -------------------------------------------------------------------------------------------------------------

    @property
    def names(self):
        return self.lab.state.members

    def alive(self):
        return [node["name"] for node in self.lab.status()["nodes"] if node["power"] == "on" and node["name"] in self.names]

    def cli(self, node, *words, timeout_s=300, check=True):
        result = self.lab.ssh(node, ["holdfast", *words], timeout_s=timeout_s, check=False)
        if check and result.returncode != 0:
            raise CliError(words, result)
        return result

    def json(self, node, *words, timeout_s=60):
        return json.loads(self.cli(node, *words, "--json", timeout_s=timeout_s).stdout)

    def status(self, node):
        return self.json(node, "status")

    def guest(self, node, name="demo"):
        """The guest as `node` shows it, or None while it gives no answer."""
        try:
            return next((guest for guest in self.status(node)["guests"] if guest["name"] == name), None)
        except (CliError, LabError, ValueError):
            return None

    def wait_guest(self, node, state="running", on=None, protected=None, name="demo", timeout_s=240):
        def test():
            guest = self.guest(node, name)
            status = guest and guest["status"]
            if status and status["state"] == state and (on is None or status["node"] == on) and \
                    (protected is None or status["protected"] == protected):
                return guest
            return None
        return wait_for(f"guest {name} {state}{f' on {on}' if on else ''}{' protected' if protected else ''} as {node} sees it", test,
                        timeout_s, 1.0)

    def dc(self, node):
        return self.status(node)["dc"]

    # -- power --------------------------------------------------------------------------------------------------------------------

    def node_state(self, through, node):
        """online, offline or unclean, as Pacemaker on `through` says; None while that does not answer."""
        try:
            text = self.lab.ssh(through, f"crm_mon -1 --output-as=xml | grep -m1 '<node name=\"{node}\"'", check=False).stdout
        except LabError:
            return None
        if 'unclean="true"' in text:
            return "unclean"
        return "online" if 'online="true"' in text else "offline" if text else None

    def keep_off(self, node):
        """A power cut that lasts: wait until the cluster has made sure of it, then take its BMC away, so that nobody powers it on again."""
        self.lab.power(node, "off")
        other = next(name for name in self.alive() if name != node)
        wait_for(f"{node} to be known as off", lambda: self.node_state(other, node) == "offline", 180, 1)
        self.lab.cut(node, "bmc")

    def give_power(self, node):
        """The end of keep_off()."""
        self.lab.heal(node, "bmc")
        if node not in self.alive():  # the cluster may have been quicker
            self.lab.power(node, "on")

    def swap(self, off, on):
        """The last but one node loses power for long, and `on`, kept off before, returns: only with it is there a quorum again that makes sure of
        `off`."""
        self.lab.power(off, "off")
        self.give_power(on)
        other = next(name for name in self.names if name not in (off, on))
        wait_for(f"{on} to be back", lambda: self.node_state(other, on) == "online", 400, 2)
        wait_for(f"{off} to be known as off", lambda: self.node_state(other, off) == "offline", 240, 1)
        self.lab.cut(off, "bmc")

    # -- what really runs, below every daemon --------------------------------------------------------------------------------------

    def ask_all(self, script, timeout_s=240):
        """{node: what the script prints there} of every node that has power. A node too busy to answer, or still booting, is asked again
        until it answers or has no power: it must not pass for one where nothing runs."""
        answers = {}

        def ask(node):
            try:
                result = self.lab.ssh(node, f"{script}; echo asked", timeout_s=30, check=False)
            except LabError:
                return
            if result.stdout.endswith("asked\n"):
                answers[node] = result.stdout.removesuffix("asked\n").strip()

        def all_answered():
            for node in self.alive():
                if node not in answers:
                    ask(node)
            return all(node in answers for node in self.alive())
        wait_for("an answer from every node that has power", all_answered, timeout_s)
        return {node: answers[node] for node in self.alive() if node in answers}

    def running_on(self, name="demo"):
        """Nodes on which a VMM of the guest is alive, by their process tables."""
        script = f"cat /sys/fs/cgroup/holdfast*.slice/holdfast-guest@{name}.service/cgroup.procs " \
                 f"/sys/fs/cgroup/*.slice/*.slice/holdfast-guest@{name}.service/cgroup.procs 2>/dev/null | head -1"
        return [node for node, processes in self.ask_all(script).items() if processes]

    def primaries(self):
        """Nodes with a Primary volume."""
        return [node for node, text in self.ask_all("cat /proc/drbd 2>/dev/null").items() if " ro:Primary/" in text]

    # -- the guest's client -----------------------------------------------------------------------------------------------------------

    def start_writer(self, path, client=None):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        client = client or f"c{time.time_ns()}"  # every writer numbers its own records
        command = self.lab.network.enter(sys.executable, HERE / "writer.py", GUEST_ADDRESS, GUEST_PORT, path, client)
        return Writing(subprocess.Popen(command, stdin=subprocess.DEVNULL), path, client)

    def ask_guest(self, line, timeout_s=30):
        """Send one line to the recorder in the guest; everything it answers until its last line."""
        code = ("import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])),5)\ns.settimeout(20)\n"
                "s.sendall((sys.argv[3]+'\\n').encode())\nb=b''\n"
                "while not (b.endswith(b'\\n') and b.splitlines()[-1][:2] in (b'E ',b'I ',b'A ',b'F ')):\n"
                "    d=s.recv(65536)\n    if not d: break\n    b+=d\nsys.stdout.write(b.decode())")
        result = subprocess.run(self.lab.network.enter(sys.executable, "-c", code, GUEST_ADDRESS, GUEST_PORT, line),
                                capture_output=True, text=True, timeout=timeout_s)
        if result.returncode:
            raise AssertionError(f"the guest does not answer '{line}': {result.stderr.strip().splitlines()[-1:]}")
        return result.stdout

    def records(self):
        return history.parse_dump(self.ask_guest("R"))

    def wait_answering(self, timeout_s=240):
        def test():
            try:
                return self.ask_guest("I")
            except (AssertionError, subprocess.TimeoutExpired):
                return None
        return wait_for("the guest answers", test, timeout_s)


class Writing:
    """A running writer."""

    def __init__(self, process, path, client):
        self.process, self.path, self.client = process, path, client

    def history(self):
        return history.read(self.path) if self.path.exists() else []

    def wait_ok(self, after, timeout_s=240):
        """Until a write invoked later than `after` (monotonic) was acknowledged; its moment."""
        return wait_for("an acknowledged write", lambda: history.first_ok_after(self.history(), after), timeout_s, 0.1)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        return self.history()
