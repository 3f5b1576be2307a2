# SPDX-License-Identifier: Apache-2.0
"""state.json: what one lab is made of. Process numbers are not here but beside each node (process.py), because
a BMC changes them while somebody else may be writing this file."""

import json
import os

from . import addresses
from .errors import LabError

VERSION = 1


class State:
    def __init__(self, path, content):
        self.path = path
        self.content = content

    @classmethod
    def new(cls, path, memory_mib, image, numbers):
        nodes = [{"name": addresses.node_name(number), "number": number, "disks": {}} for number in numbers]
        return cls(path, {"version": VERSION, "phase": "starting", "memory_mib": memory_mib, "image": image,
                          "nodes": nodes})

    @classmethod
    def load(cls, path):
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise LabError(f"the lab is not up ({path} is missing): start it with 'lab up'") from None
        except ValueError as error:
            raise LabError(f"{path} is damaged ({error}): 'lab down' removes it") from None
        if content.get("version") != VERSION:
            raise LabError(f"{path} has version {content.get('version')}, this program writes {VERSION}: "
                           "run 'lab down' and start again")
        return cls(path, content)

    def write(self):
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.content, indent=1) + "\n")
        os.rename(temporary, self.path)

    @property
    def nodes(self):
        return self.content["nodes"]

    @property
    def numbers(self):
        return [node["number"] for node in self.nodes]

    @property
    def names(self):
        return [node["name"] for node in self.nodes]

    @property
    def members(self):
        """Names of the cluster's nodes: all machines but a witness."""
        return [node["name"] for node in self.nodes if node["number"] != addresses.WITNESS]

    @property
    def has_witness(self):
        return addresses.WITNESS in self.numbers

    def node(self, name):
        for node in self.nodes:
            if node["name"] == name:
                return node
        raise LabError(f"unknown node '{name}': this lab has {', '.join(self.names)}")
