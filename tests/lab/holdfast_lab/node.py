# SPDX-License-Identifier: Apache-2.0
"""One node: its QEMU. Power on is a start, power off is SIGKILL (power.py), the disks stay."""

import time
import uuid

from . import addresses, image, process
from .errors import LabError
from .run import run


WITNESS_MEMORY_MIB = 512


def memory_mib(state, number):
    return WITNESS_MEMORY_MIB if number == addresses.WITNESS else state.content["memory_mib"]


def arguments(lab, state, node, layers, incoming=None):
    """QEMU's complete argument list; devices always in this order, for a saved memory needs the same machine."""
    paths, number = lab.node(node["name"]), node["number"]
    argv = ["qemu-system-x86_64", "-name", node["name"], "-uuid", uuid.uuid5(uuid.NAMESPACE_URL, str(paths.folder)),
            "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "EPYC,+svm,+npt,+invtsc", "-smp", "1", "-M", "q35",
            "-m", memory_mib(state, number), "-rtc", "base=utc,clock=host", "-display", "none", "-nodefaults",
            "-daemonize", "-pidfile", f"{paths.qemu}.daemon",
            "-qmp", f"unix:{paths.qmp_socket},server=on,wait=off",
            "-chardev", f"socket,id=serial,path={paths.serial_socket},server=on,wait=off,"
                        f"logfile={paths.serial_log},logappend=on",
            "-serial", "chardev:serial", "-device", "virtio-rng-pci",
            *image.boot_arguments(state.content["image"]["files"], layers)]
    # A power cut here is SIGKILL for QEMU: the host's page cache survives, so every write that QEMU has handed
    # to the host is kept, like a disk without a volatile cache. cache=writeback therefore loses nothing that a
    # real disk would keep, and makes the guest's flushes cheap; cache=unsafe would ignore them altogether.
    for disk in sorted(node["disks"]):
        argv += ["-drive", f"if=none,id={disk},file={layers.path(node['disks'][disk][-1])},format=qcow2,"
                           "cache=writeback,discard=unmap", "-device", f"virtio-blk-pci,drive={disk}"]
    argv += ["-drive", f"if=none,id=vdc,file={paths.seed},format=raw,readonly=on,cache=writeback",
             "-device", "virtio-blk-pci,drive=vdc"]
    for network in addresses.NETWORKS:
        argv += ["-netdev", f"tap,id={network},ifname={addresses.tap(network, number)},script=no,downscript=no",
                 "-device", f"virtio-net-pci,netdev={network},mac={addresses.mac(network, number)},romfile="]
    if incoming:
        argv += ["-incoming", f"exec:cat '{incoming}'"]
    return [str(word) for word in argv]


def start(lab, state, node, layers, network, incoming=None):
    """Start the node's QEMU; the caller holds the node's lock. False when it runs already."""
    paths = lab.node(node["name"])
    if process.recorded(paths.qemu):
        return False
    with open(paths.serial_log, "a", encoding="utf-8") as log:
        log.write(f"\n--- power on {time.strftime('%F %T')} ---\n")
    lab.run.mkdir(parents=True, exist_ok=True)
    # -daemonize returns when the machine is complete, or with the reason why not; QEMU is then nobody's child.
    run(*network.enter(*arguments(lab, state, node, layers, incoming)), timeout_s=60)
    with open(f"{paths.qemu}.daemon", encoding="ascii") as file:
        pid = int(file.read())
    if not process.record(paths.qemu, pid):
        raise LabError(f"QEMU of {node['name']} ended at once: see {paths.serial_log}")
    return True
