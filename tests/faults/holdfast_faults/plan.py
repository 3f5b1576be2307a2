# SPDX-License-Identifier: Apache-2.0
"""Seed -> what is done to the cluster in one cycle. Pure: the same seed gives the same plan.

A plan speaks of roles (home: the guest's node at the start, peer: its other replica, third), so it fits wherever the guest runs."""

import random
from dataclasses import dataclass, field

from .nemeses import OUR_DAEMONS, PACEMAKER_DAEMONS

ROLES = ("home", "peer", "third")
# How often each is drawn. Migration is drawn often, for faults are to fall into it.
WEIGHTS = {"power-cut": 5, "power-cycle": 2, "power-cut-all": 1, "cut": 5, "isolate": 3, "lossy": 2, "bmc-cut": 1, "kill": 6, "kill-vmm": 2,
           "freeze": 3, "store-member-down": 2, "clock-step": 1, "migrate": 5, "standby": 1}


@dataclass(frozen=True)
class Step:
    at_s: float
    name: str
    role: str
    arguments: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    seed: int
    steps: tuple
    hold_s: float  # from the last step to the healing


def _arguments(name, random_):
    if name == "cut":
        return {"network": random_.choice(("ring0", "ring1")), "direction": random_.choice(("both", "both", "in", "out"))}
    if name == "lossy":
        return {"network": random_.choice(("ring0", "ring1")), "direction": random_.choice(("in", "out", "both")),
                "percent": random_.choice((2, 10, 30))}
    if name == "kill":
        return {"program": random_.choice(PACEMAKER_DAEMONS + OUR_DAEMONS + ("corosync", "etcd"))}
    if name == "freeze":
        return {"program": random_.choice(PACEMAKER_DAEMONS + ("corosync", "holdfastd", "etcd")), "for_s": random_.choice((1, 4, 12, 30))}
    if name == "clock-step":
        return {"by_s": random_.choice((-3600, -10, 10, 3600))}
    if name == "migrate":
        return {"to": "peer"}
    if name == "power-cut-all":
        return {"order": tuple(random_.sample(ROLES, 3)), "apart_s": random_.choice((0, 5, 20))}
    return {}


def make(seed):
    random_ = random.Random(seed)
    names, weights = zip(*WEIGHTS.items())
    steps, at = [], round(random_.uniform(0.0, 3.0), 2)
    for _ in range(random_.choice((1, 1, 2, 2, 3))):
        name = random_.choices(names, weights)[0]
        # A migration is asked of the guest's node; a fault after it falls within the seconds that it takes.
        role = "home" if name in ("migrate", "kill-vmm") else random_.choice(ROLES)
        steps.append(Step(at, name, role, _arguments(name, random_)))
        at = round(at + random_.uniform(0.0, 12.0), 2)
    return Plan(seed, tuple(steps), round(random_.uniform(5.0, 45.0), 1))


def text(plan):
    return "; ".join(f"{step.at_s:.1f} s {step.name} {step.role}" + "".join(f" {name}={value}" for name, value in step.arguments.items())
                     for step in plan.steps) + f"; healed {plan.hold_s:.0f} s later"
