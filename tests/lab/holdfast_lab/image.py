# SPDX-License-Identifier: Apache-2.0
"""The appliance image: find it, know it by its hash, keep this version alive while something is built on it."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil

from . import tsc
from .errors import LabError
from .locks import locked
from .paths import REPOSITORY
from .run import run

DEFAULT_COMMAND_LINE = "root=/dev/vda1 rw"
CONSOLE = "console=ttyS0 panic=-1 quiet mitigations=off tsc=reliable clocksource=tsc"


def locate(path=None):
    candidates = [pathlib.Path(path)] if path else [REPOSITORY / "build" / "appliance" / f"holdfast.{kind}"
                                                    for kind in ("img", "qcow2")]
    for candidate in candidates:
        if candidate.exists():
            return candidate.resolve()
    raise LabError(f"no appliance image at {' or '.join(str(candidate) for candidate in candidates)}: "
                   "make one with 'make image', or name one with --image")


def parts(path):
    """The image and, when they lie beside it, the kernel, initrd and command line that boot it faster."""
    found = {"disk": path}
    for part, name in (("kernel", "vmlinuz"), ("initrd", "initrd.img"), ("cmdline", "cmdline")):
        if (path.parent / name).exists():
            found[part] = path.parent / name
    return found if "kernel" in found and "initrd" in found else {"disk": path}


def fingerprint(path, cache_path):
    """sha256 over all parts of the image; remembered per file as long as size, time and inode stay."""
    try:
        cache = json.loads(cache_path.read_text())
    except (OSError, ValueError):
        cache = {}
    whole = hashlib.sha256()
    for part, file in sorted(parts(path).items()):
        status = file.stat()
        identity = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = cache.get(str(file))
        if not known or known["identity"] != identity:
            known = {"identity": identity, "sha256": _hash_data(file)}
            cache[str(file)] = known
        whole.update(f"{part} {known['sha256']}\n".encode())
    temporary = cache_path.with_suffix(".tmp")
    temporary.write_text(json.dumps(cache, indent=1))
    temporary.rename(cache_path)
    return whole.hexdigest()


def _hash_data(path):
    """Hash a sparse file by its data only: holes of a big image take no time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while position < size:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:                           # only a hole is left
                break
            end = os.lseek(file.fileno(), position, os.SEEK_HOLE)
            digest.update(f"{position}-{end};".encode())
            file.seek(position)
            while position < end:
                block = file.read(min(1 << 20, end - position))
                digest.update(block)
                position += len(block)
        digest.update(f"size {size}".encode())
    return digest.hexdigest()


def names(path, sha256):
    """Names of the image's parts in the layer store."""
    return {part: f"image-{sha256[:16]}.{part}" for part in parts(path)}


def adopt(path, files, layers):
    """Put this version of the image into the layer store: rebuilding the image later must not change a disk under
    a running node. For the disk a hard link is enough, because the builder makes a new file and renames it; the small
    parts are copied, for it may write into them."""
    layers.folder.mkdir(parents=True, exist_ok=True)
    for part, source in parts(path).items():
        target = layers.path(files[part])
        if target.exists():
            continue
        temporary = target.with_name(target.name + ".tmp")
        temporary.unlink(missing_ok=True)
        if part != "disk":
            shutil.copyfile(source, temporary)
        else:
            try:
                os.link(source, temporary)
            except OSError:                           # another file system
                run("cp", "--sparse=always", source, temporary, timeout_s=300)
        os.rename(temporary, target)


@contextlib.contextmanager
def settled(path, waiting):
    """While the builder works, the image's parts do not fit together: hold its lock. Calls waiting() if that lasts."""
    lock = path.parent / ".lock"
    if not lock.exists():
        yield
        return
    try:
        stack = contextlib.ExitStack()
        stack.enter_context(locked(str(lock), wait=False))
    except BlockingIOError:
        waiting()
        stack.enter_context(locked(str(lock)))
    with stack:
        yield


def boot_arguments(files, layers):
    """QEMU's arguments to boot: kernel and initrd directly when there are any, else the disk's own loader."""
    if "kernel" not in files:
        return []
    line = DEFAULT_COMMAND_LINE
    if "cmdline" in files:
        line = layers.path(files["cmdline"]).read_text().strip()
    given = {word.partition("=")[0] for word in line.split()}
    extra = [word for word in (*CONSOLE.split(), f"tsc_early_khz={tsc.khz()}") if word.partition("=")[0] not in given]
    return ["-kernel", layers.path(files["kernel"]), "-initrd", layers.path(files["initrd"]),
            "-append", " ".join([line, *extra])]
