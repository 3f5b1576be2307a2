#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tags.py INTERFACE MAC SECONDS: prints the VLAN tag (0: none) of every frame from MAC that passes INTERFACE, one a line.

The kernel takes the tag out of a frame and hands it over beside it, so this works without VLAN support on the machine of the lab."""
import select
import socket
import struct
import sys
import time

ETH_P_ALL, SOL_PACKET, PACKET_AUXDATA = 3, 263, 8
STATUS_VLAN_VALID = 0x10


def tag_of(frame, ancillary):
    """The frame's VLAN id: from the packet's auxiliary data, else from the frame itself."""
    for level, kind, data in ancillary:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, _ = struct.unpack("=IIIHHHH", data[:20])
            if status & STATUS_VLAN_VALID:
                return tci & 0xFFF
    return int.from_bytes(frame[14:16], "big") & 0xFFF if frame[12:14] == b"\x81\x00" else 0


def main(interface, mac, seconds):
    wanted, deadline = bytes.fromhex(mac.replace(":", "")), time.monotonic() + float(seconds)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.bind((interface, 0))
        print("ready", flush=True)
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([wire], [], [], left)[0]:
                break
            frame, ancillary, _, _ = wire.recvmsg(2048, 256)
            if frame[6:12] == wanted:
                print(tag_of(frame, ancillary), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
