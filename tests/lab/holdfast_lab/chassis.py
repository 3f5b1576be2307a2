# SPDX-License-Identifier: Apache-2.0
"""What ipmi_sim runs for chassis control: `lab _chassis LAB-ROOT LAB NODE MC get|set|check PARAMETER [VALUE] ...`.

ipmi_sim waits for this program before it answers the IPMI client, so fencing learns of a power cut only when
it has happened."""

import sys

from . import events, power
from .paths import LabPaths


def main(arguments):
    root, name, node, _controller, verb, *words = arguments
    lab = LabPaths(name, root)
    if verb == "get":
        for parameter in words:
            print(f"{parameter}:{_get(lab, node, parameter)}")
    elif verb == "set":
        for parameter, value in zip(words[::2], words[1::2]):
            _set(lab, node, parameter, value)
    return 0


def _get(lab, node, parameter):
    if parameter == "power":
        return 1 if power.is_on(lab.node(node)) else 0
    return "none" if parameter == "boot" else 0


def _set(lab, node, parameter, value):
    if parameter == "power" and value == "0":
        power.off(lab.node(node), lab.events, node, "bmc")
    elif parameter == "power" or parameter == "reset":
        from .lab import Lab                          # slow to import, and only needed to start a node
        Lab(lab.name, lab.root).power(node, "on" if parameter == "power" else "cycle", by="bmc")
    else:
        events.append(lab.events, "bmc.ignored", node=node, parameter=parameter, value=value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
