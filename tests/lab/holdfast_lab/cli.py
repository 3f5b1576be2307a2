# SPDX-License-Identifier: Apache-2.0
"""The command line: one function per verb, all work is in lab.py."""

import argparse
import json
import os
import signal
import sys
import time

from .errors import LabError
from .lab import ALL_NETWORKS, DIRECTIONS, Lab


def _up(lab, options):
    lab.up(options.nodes, options.memory, options.image, options.keep, options.timeout, options.witness)


def _down(lab, _options):
    lab.down()


def _status(lab, options):
    status = lab.status()
    if options.json:
        print(json.dumps(status, indent=1))
        return
    print(f"lab {status['name']} ({status['phase']}), namespace {status['namespace']}, "
          f"{status['memory_mib']} MiB a node, image {status['image'][:12]}")
    for node in status["nodes"]:
        cuts = ", ".join(f"{network} cut ({way})" for network, way in node["cuts"].items())
        print(f"  {node['name']:4} {node['power']:4} ring0 {node['ring0']:12} ring1 {node['ring1']:12} "
              f"bmc {node['bmc']:12} qemu {node['qemu_pid'] or '-'} {cuts}".rstrip())


def _ssh(lab, options):
    node = lab.state.node(options.node)
    lab.ssh_client.open(node)
    words = lab.ssh_client.argv(node, options.command, tty=not options.command and sys.stdin.isatty())
    os.execvp(words[0], words)


def _power(lab, options):
    lab.power(options.node, options.action)


def _cut(lab, options):
    lab.cut(options.node, options.network, options.direction, options.hard, options.percent)


def _heal(lab, options):
    lab.heal(options.node, options.network, options.direction)


def _save(lab, options):
    lab.save(options.name, options.replace)


def _restore(lab, options):
    lab.restore(options.name, options.old_image)


def _saves(lab, _options):
    for save in lab.saves():
        print(f"{save['name']:20} {time.strftime('%F %T', time.localtime(save['saved_at']))}  {save['nodes']} nodes  "
              f"image {save['image'][:12]}  {save['memory_bytes'] >> 20} MiB")


def _forget(lab, options):
    lab.forget(options.name)


def _logs(lab, options):
    sys.stdout.write(lab.logs(options.node, options.words or ("-n", "200")))


def _console(lab, options):
    from .console import attach
    lab.state.node(options.node)
    attach(lab.paths.node(options.node).serial_socket)


def _copy(lab, options):
    lab.copy(options.node, options.source, options.target)


def _wait(lab, options):
    lab.wait(options.node, options.timeout)


def _wait_cluster(lab, options):
    lab.wait_cluster(options.timeout)
    lab.say("every node sees the whole cluster")


def _prove(lab, options):
    lab.prove(options.timeout)


def _events(lab, _options):
    for event in lab.events():
        print(json.dumps(event))


def _node(parser):
    parser.add_argument("node", metavar="NODE")


def parser():
    top = argparse.ArgumentParser(prog="lab", description="A Holdfast cluster of emulated nodes on this machine. "
                                  "HOLDFAST_LAB names the lab (default: default).")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name, function, text, node=False, timeout=None):
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        if node:
            _node(sub)
        if timeout:
            sub.add_argument("--timeout", type=float, default=timeout, metavar="S", help=f"seconds (default {timeout})")
        return sub

    up = verb("up", _up, "start a fresh cluster", timeout=420)
    up.add_argument("--nodes", type=int, default=3, metavar="N")
    up.add_argument("--witness", action="store_true", help="and a witness, w1")
    up.add_argument("--memory", type=int, default=2048, metavar="MIB", help="memory of a node")
    up.add_argument("--image", metavar="PATH", help="appliance image; vmlinuz, initrd.img, cmdline beside it are used")
    up.add_argument("--keep", action="store_true", help="leave everything in place when it fails")
    verb("down", _down, "remove the lab, from whatever state")
    verb("status", _status, "nodes, power, cuts").add_argument("--json", action="store_true")
    verb("ssh", _ssh, "a shell or a command in a node", node=True).add_argument("command", nargs=argparse.REMAINDER)
    verb("power", _power, "cut or give power", node=True).add_argument("action", choices=("on", "off", "cycle"))
    for name, function, text in (("cut", _cut, "drop a node's packets"), ("heal", _heal, "let them pass again")):
        sub = verb(name, function, text, node=True)
        sub.add_argument("network", metavar="NET", help=", ".join(ALL_NETWORKS))
        sub.add_argument("--direction", default="both", help=f"{', '.join(DIRECTIONS)}, as the node sees it")
        if name == "cut":
            sub.add_argument("--hard", action="store_true", help="the lab's own ssh over ring0 too")
            sub.add_argument("--percent", type=int, default=100, metavar="N", help="lose only so many of 100 packets")
    save = verb("save", _save, "save memory and disks of the running cluster")
    save.add_argument("name", metavar="NAME")
    save.add_argument("--replace", action="store_true")
    restore = verb("restore", _restore, "go back to a saved state")
    restore.add_argument("name", metavar="NAME")
    restore.add_argument("--old-image", action="store_true", help="although the appliance image has changed since")
    verb("saves", _saves, "list saved states")
    verb("forget", _forget, "delete a saved state").add_argument("name", metavar="NAME")
    verb("logs", _logs, "journal of a node (WORDS for journalctl), or its serial log", node=True).add_argument(
        "words", nargs=argparse.REMAINDER)
    verb("console", _console, "attach to a node's serial line", node=True)
    copy = verb("copy", _copy, "copy a file; the side in the node begins with ':'", node=True)
    copy.add_argument("source", metavar="SRC")
    copy.add_argument("target", metavar="DST")
    verb("wait", _wait, "wait until a node answers ssh", node=True, timeout=180)
    verb("wait-cluster", _wait_cluster, "wait until every node sees every node", timeout=300)
    verb("prove", _prove, "prove the fencing of every node", timeout=600)
    verb("events", _events, "what was done and when, a JSON object a line")
    return top


def _interrupted(_signal, _frame):
    raise KeyboardInterrupt


def main(arguments):
    options = parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        lab = Lab(progress=lambda text: print(text, file=sys.stderr, flush=True))
        options.function(lab, options)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    return 0
