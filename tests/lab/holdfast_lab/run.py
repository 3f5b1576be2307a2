# SPDX-License-Identifier: Apache-2.0
"""Run a helper program with a deadline; a failure becomes a LabError with the program's own words."""

import shutil
import subprocess

from .errors import LabError

PACKAGES = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "ipmi_sim": "openipmi",
            "nft": "nftables", "ip": "iproute2", "nsenter": "util-linux", "setsid": "util-linux",
            "mke2fs": "e2fsprogs", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}


def require_programs():
    missing = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if missing:
        raise LabError(f"the lab needs programs of these packages: apt-get install {' '.join(missing)}")


def run(*argv, text=None, timeout_s=60, check=True):
    argv = [str(word) for word in argv]
    try:
        done = subprocess.run(argv, input=text, stdin=subprocess.DEVNULL if text is None else None,
                              capture_output=True, text=True, timeout=timeout_s, errors="replace")
    except subprocess.TimeoutExpired:
        raise LabError(f"'{' '.join(argv)}' did not end within {timeout_s} s") from None
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed") from None
    if check and done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LabError(f"'{' '.join(argv)}' failed ({done.returncode}): {words}")
    return done
