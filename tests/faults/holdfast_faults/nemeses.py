# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, each a class with inject() and heal(). `node` is a node's name; heal() must work whatever inject() reached.

`fences` says that a node may rightly be fenced for it; `paths` names the rings whose loss counts towards that."""

from holdfast_lab.errors import LabError

PACEMAKER_DAEMONS = ("pacemakerd", "pacemaker-based", "pacemaker-fenced", "pacemaker-execd", "pacemaker-attrd", "pacemaker-schedulerd",
                     "pacemaker-controld")
OUR_DAEMONS = ("holdfastd", "holdfast-api", "holdfast-fence-peer")


class Nemesis:
    fences, paths = False, ()

    def __init__(self, node, **arguments):
        self.node, self.arguments = node, arguments

    def __str__(self):
        words = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{type(self).name} {self.node}{' ' + words if words else ''}"

    def shell(self, cluster, script, timeout_s=30):
        """In the node, if it answers: a fault may well have taken it away already."""
        try:
            return cluster.lab.ssh(self.node, script, timeout_s=timeout_s, check=False).stdout
        except LabError:
            return ""

    def inject(self, cluster):
        raise NotImplementedError

    def heal(self, cluster):
        pass


class PowerCut(Nemesis):
    name, fences = "power-cut", True

    def inject(self, cluster):
        cluster.lab.power(self.node, "off")

    def heal(self, cluster):
        if self.node not in cluster.alive():
            cluster.lab.power(self.node, "on")


class PowerCycle(Nemesis):
    name, fences = "power-cycle", True

    def inject(self, cluster):
        cluster.lab.power(self.node, "cycle")


class PowerCutAll(Nemesis):
    """The whole cluster; nodes return in the order of the names given, so far apart."""
    name, fences = "power-cut-all", True

    def inject(self, cluster):
        for node in cluster.names:
            cluster.lab.power(node, "off")

    def heal(self, cluster):
        import time
        for node in self.arguments["order"]:
            if node not in cluster.alive():
                cluster.lab.power(node, "on")
                time.sleep(self.arguments["apart_s"])


class Cut(Nemesis):
    name = "cut"

    @property
    def paths(self):
        return (self.arguments["network"],)

    def inject(self, cluster):
        cluster.lab.cut(self.node, self.arguments["network"], self.arguments["direction"])

    def heal(self, cluster):
        cluster.lab.heal(self.node, self.arguments["network"], self.arguments["direction"])


class Isolate(Nemesis):
    name, paths = "isolate", ("ring0", "ring1")

    def inject(self, cluster):
        for network in self.paths:
            cluster.lab.cut(self.node, network)

    def heal(self, cluster):
        for network in self.paths:
            cluster.lab.heal(self.node, network)


class Lossy(Cut):
    """A bad cable: some of the packets do not arrive."""
    name = "lossy"

    def inject(self, cluster):
        cluster.lab.cut(self.node, self.arguments["network"], self.arguments["direction"], percent=self.arguments["percent"])


class BmcCut(Nemesis):
    name = "bmc-cut"

    def inject(self, cluster):
        cluster.lab.cut(self.node, "bmc")

    def heal(self, cluster):
        cluster.lab.heal(self.node, "bmc")


class Kill(Nemesis):
    """SIGKILL a program by its exact name, all its processes. Pacemaker may fence a node over the death of some of its daemons."""
    name = "kill"

    @property
    def fences(self):
        return self.arguments["program"] not in OUR_DAEMONS + ("etcd",)

    def inject(self, cluster):
        # pgrep -x compares 15 characters at most.
        self.shell(cluster, f"pkill -KILL -x '{self.arguments['program'][:15]}'")


class KillVmm(Nemesis):
    name = "kill-vmm"

    def inject(self, cluster):
        self.shell(cluster, "systemctl kill -s KILL holdfast-guest@demo.service")


class Freeze(Nemesis):
    """SIGSTOP a program, SIGCONT after a while: what a hung disk or an overloaded host looks like to its peers."""
    name, fences = "freeze", True

    def inject(self, cluster):
        program, seconds = self.arguments["program"][:15], self.arguments["for_s"]
        self.shell(cluster, f"pkill -STOP -x '{program}'; (sleep {seconds}; pkill -CONT -x '{program}') >/dev/null 2>&1 &")

    def heal(self, cluster):
        self.shell(cluster, f"pkill -CONT -x '{self.arguments['program'][:15]}'")


class StoreMemberDown(Nemesis):
    name = "store-member-down"

    def inject(self, cluster):
        self.shell(cluster, "systemctl stop holdfast-etcd")

    def heal(self, cluster):
        self.shell(cluster, "systemctl start holdfast-etcd")


class ClockStep(Nemesis):
    name = "clock-step"

    def inject(self, cluster):
        self.shell(cluster, f"date -s '@'$(($(date +%s) + {self.arguments['by_s']})) >/dev/null")

    def heal(self, cluster):
        try:
            cluster.lab.ssh_client.set_clock(cluster.lab.state.node(self.node))
        except LabError:
            pass


class Migrate(Nemesis):
    """No fault: a live migration, so that faults fall into it. Asked through the third node."""
    name = "migrate"

    def inject(self, cluster):
        target = self.arguments["to"]
        self.shell(cluster, f"(holdfast guest migrate demo {target} >/dev/null 2>&1 &)")


class Standby(Nemesis):
    """No fault: an operator empties a node."""
    name = "standby"

    def inject(self, cluster):
        self.shell(cluster, f"(holdfast node standby {self.node} >/dev/null 2>&1 &)")

    def heal(self, cluster):
        for node in cluster.alive():
            try:
                if cluster.cli(node, "node", "online", self.node, check=False, timeout_s=60).returncode == 0:
                    return
            except LabError:
                pass


CATALOGUE = {kind.name: kind for kind in (PowerCut, PowerCycle, PowerCutAll, Cut, Isolate, Lossy, BmcCut, Kill, KillVmm, Freeze,
                                          StoreMemberDown, ClockStep, Migrate, Standby)}
