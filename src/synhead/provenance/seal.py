"""A seal for containers that C2PA does not know: a hash of all bytes of the file, signed, in its own metadata.

What it proves: no byte has changed since somebody who holds the key put the seal there. Without a key (the package
``cryptography`` is missing) only the hash is there: it shows accidents, but who changes the file can renew it too.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from synhead.provenance.errors import ProvenanceError
from synhead.provenance.xmp import Packet, find_packet

if TYPE_CHECKING:
    from synhead.provenance.credentials import Credentials

CONTEXT = b"synhead seal 1\n"
_BLOCK = 1 << 20
_SIGNATURE_ROOM = 1024
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The text of a slot: ``digest`` in hexadecimal, and the signature with its certificates where it was signed."""

    digest: str
    signature: bytes | None = None
    certificates: bytes = b""

    def text(self) -> str:
        """As it stands in the slot."""
        if self.signature is None:
            return self.digest
        return " ".join([self.digest, b64encode(self.signature).decode(), b64encode(self.certificates).decode()])

    @classmethod
    def parse(cls, text: str) -> Seal | None:
        """From a slot; None for an empty or damaged one."""
        parts = text.split()
        try:
            if len(parts) == 1:
                return cls(digest=parts[0])
            digest, signature, certificates = parts
            return cls(
                digest=digest,
                signature=b64decode(signature, validate=True),
                certificates=b64decode(certificates, validate=True),
            )
        except ValueError:
            return None

    @property
    def message(self) -> bytes:
        """What is signed: the digest, and whose signature it is going to be."""
        return CONTEXT + self.digest.encode() + hashlib.sha256(self.certificates).digest()


def slot_size(credentials: Credentials | None) -> int:
    """Bytes to reserve for a seal by ``credentials``."""
    if credentials is None:
        return hashlib.sha256().digest_size * 2
    return len(Seal(digest="0" * 64, signature=bytes(_SIGNATURE_ROOM), certificates=credentials.chain).text())


def seal_file(path: Path, credentials: Credentials | None) -> None:
    """Fill the reserved slot of ``path`` in place. Raises ProvenanceError if there is none or it is too small."""
    packet = find_packet(path)
    if packet is None or packet.slot is None:
        raise ProvenanceError(f"{path.name} holds no place for a mark; write it as .mp4, .mkv, .webm, .gif or .png")
    begin, end = packet.slot
    seal = Seal(digest=digest(path, packet.slot))
    if credentials is not None:
        unsigned = replace(seal, certificates=credentials.chain)
        seal = replace(unsigned, signature=credentials.sign(unsigned.message))
    text = seal.text().encode()
    if len(text) > end - begin:
        raise ProvenanceError("the seal is larger than its place; use a shorter certificate chain")
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(text.ljust(end - begin))
    _mend_png(path, packet.slot)


def read_seal(path: Path, packet: Packet) -> Seal | None:
    """The seal in the packet's slot, None if it has none or a damaged one: every byte of the slot counts."""
    if packet.slot is None:
        return None
    begin, end = packet.slot
    with path.open("rb") as file:
        file.seek(begin)
        text = file.read(end - begin).decode("ascii", "replace")
    seal = Seal.parse(text)
    if seal is None or seal.text().ljust(end - begin) != text or not _png_is_sound(path, packet.slot):
        return None
    return seal


def digest(path: Path, slot: tuple[int, int]) -> str:
    """SHA-256 of the file with the slot (and the checksum of the PNG chunk around it) taken as blank."""
    blanks = [slot, *_png_checksum(path, slot)]
    whole, position = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := bytearray(file.read(_BLOCK)):
            for begin, end in blanks:
                first, last = max(begin - position, 0), min(end - position, len(block))
                if first < last:
                    block[first:last] = b" " * (last - first)
            whole.update(block)
            position += len(block)
    return whole.hexdigest()


def _png_checksum(path: Path, slot: tuple[int, int]) -> list[tuple[int, int]]:
    chunk = _png_chunk(path, slot)
    return [] if chunk is None else [(chunk[1], chunk[1] + 4)]


def _png_chunk(path: Path, slot: tuple[int, int]) -> tuple[int, int] | None:
    """Where the type of the PNG chunk around the slot begins and its checksum begins; None if this is no PNG."""
    with path.open("rb") as file:
        if file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
            return None
        while len(header := file.read(8)) == 8:
            begin = file.tell()
            end = begin + struct.unpack(">I", header[:4])[0]
            if begin <= slot[0] < end:
                return begin - 4, end
            file.seek(end + 4)
    return None


def _png_is_sound(path: Path, slot: tuple[int, int]) -> bool:
    """The chunk's checksum, which the digest leaves out, is right."""
    chunk = _png_chunk(path, slot)
    if chunk is None:
        return True
    with path.open("rb") as file:
        file.seek(chunk[0])
        return _checksum(file.read(chunk[1] - chunk[0])) == file.read(4)


def _mend_png(path: Path, slot: tuple[int, int]) -> None:
    chunk = _png_chunk(path, slot)
    if chunk is None:
        return
    with path.open("r+b") as file:
        file.seek(chunk[0])
        checksum = _checksum(file.read(chunk[1] - chunk[0]))
        file.seek(chunk[1])
        file.write(checksum)


def _checksum(content: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(content))
