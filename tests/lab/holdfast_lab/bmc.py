# SPDX-License-Identifier: Apache-2.0
"""The BMC of a node: OpenIPMI's simulator, a process of its own that outlives the node's QEMU.

fence_ipmilan talks to it over the lab's network as to hardware: lanplus, cipher suite 3, user admin."""

import shlex
import sys
import time

from . import addresses, process
from .errors import LabError
from .paths import REPOSITORY
from .run import run

USER, PASSWORD = "admin", "secret"
PORT = 623

CONFIGURATION = """\
name "{node}"
set_working_mc 0x20
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid {guid}
endlan
chassis_control "./chassis 0x20"
user 1 false "" "" user 10 none md2 md5 straight
user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""

COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""


def configure(lab, node, number):
    folder = lab.node(node).folder
    (folder / "bmc").mkdir(parents=True, exist_ok=True)
    (folder / "lan.conf").write_text(CONFIGURATION.format(
        node=node, address=addresses.bmc_address(number), port=PORT, guid=f"{number:032x}", user=USER,
        password=PASSWORD))
    (folder / "sim.emu").write_text(COMMANDS)
    program = REPOSITORY / "tests" / "lab" / "lab"
    # -I -S: half the start time of Python; every IPMI power request waits for it.
    words = [sys.executable, "-I", "-S", str(program), "_chassis", str(lab.root), lab.name, node]
    script = folder / "chassis"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)


def start(lab, node, number, network, timeout_s=10):
    paths = lab.node(node)
    if process.recorded(paths.bmc):
        return
    noted = paths.folder / "bmc.number"
    noted.unlink(missing_ok=True)
    # setsid --fork: ipmi_sim is nobody's child when this returns, so it cannot become a zombie of a test run.
    run(*network.enter("setsid", "--fork", "sh", "-c",
                       'cd "$1" && echo $$ >bmc.number.tmp && mv bmc.number.tmp bmc.number && '
                       "exec ipmi_sim -n -c lan.conf -f sim.emu -s bmc >bmc.log 2>&1 </dev/null",
                       "sh", paths.folder))
    deadline = time.monotonic() + timeout_s
    while not (noted.exists() and _listens(int(noted.read_text()), number)):
        if time.monotonic() > deadline:
            raise LabError(f"the BMC of {node} does not listen on {addresses.bmc_address(number)}: "
                           f"see {paths.folder / 'bmc.log'}")
        time.sleep(0.02)
    process.record(paths.bmc, int(noted.read_text()))


def _listens(pid, number):
    octets = [int(octet) for octet in addresses.bmc_address(number).split(".")]
    wanted = f" {bytes(reversed(octets)).hex().upper()}:{PORT:04X} "
    try:
        with open(f"/proc/{pid}/net/udp", encoding="ascii") as file:
            return wanted in file.read()
    except OSError:
        return False


def fence_parameters(number):
    return {"ip": addresses.bmc_address(number), "username": USER, "password": PASSWORD, "lanplus": "1",
            "cipher": "3"}
