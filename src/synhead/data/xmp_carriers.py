"""Where each container keeps an XMP packet, for those that no library of ours writes: MP4 and MOV, and GIF."""

from __future__ import annotations

import struct
from pathlib import Path

XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP specification, part 3, 1.2.5
GIF_TRAILER = b"\x3b"
GIF_XMP_EXTENSION = b"\x21\xff\x0bXMP DataXMP"
GIF_MAGIC_TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
"""Readers that take the packet's text for block lengths end up in here, and find their way out (part 3, 1.1.2)."""


def append_xmp_box(path: Path, packet: str) -> None:
    """Put the packet behind a complete MP4 or MOV file, where it moves no offset."""
    content = XMP_UUID + packet.encode()
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)


def insert_xmp_extension(path: Path, packet: str) -> None:
    """Put the packet behind the last picture of a complete GIF file."""
    with path.open("r+b") as file:
        file.seek(-len(GIF_TRAILER), 2)
        if file.read() != GIF_TRAILER:
            raise ValueError(f"{path} does not end as a GIF file does")
        file.seek(-len(GIF_TRAILER), 2)
        file.write(GIF_XMP_EXTENSION + packet.encode() + GIF_MAGIC_TRAILER + GIF_TRAILER)
