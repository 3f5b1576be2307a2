# SPDX-License-Identifier: Apache-2.0
"""File locks: the kernel drops them with their process, so a killed lab never leaves one behind."""

import contextlib
import fcntl
import os


@contextlib.contextmanager
def locked(path, wait=True):
    """Hold an exclusive lock on path. Raises BlockingIOError when it is taken and wait is false."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)
