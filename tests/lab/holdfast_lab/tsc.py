# SPDX-License-Identifier: Apache-2.0
"""The frequency of this machine's time stamp counter, which is also what an emulated node's counter runs at.

A node's kernel measures its counter against an emulated timer at boot. With three nodes on two cores it measured six
times too little once: that node's clock ran six times too fast, and every timeout in it with that. So the lab
measures here, where the answer is exact, and tells the kernel (tsc_early_khz=)."""

import ctypes
import functools
import mmap
import time

READ_COUNTER = bytes.fromhex("0f31" "48c1e220" "4809d0" "c3")    # rdtsc; shl rdx,32; or rax,rdx; ret


@functools.lru_cache(maxsize=None)
def khz(interval_s=0.1):
    code = mmap.mmap(-1, len(READ_COUNTER), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(READ_COUNTER)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
    first_ns, first = _together(read)
    time.sleep(interval_s)
    last_ns, last = _together(read)
    return round((last - first) * 1_000_000 / (last_ns - first_ns))


def _together(read, tries=20):
    """Clock and counter at one moment: of several tries, the one that was interrupted least."""
    best = None
    for _ in range(tries):
        before = time.monotonic_ns()
        counter = read()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, counter)
    return best[1], best[2]
