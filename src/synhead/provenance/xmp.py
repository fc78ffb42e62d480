"""The XMP packet: IPTC's DigitalSourceType, our fields, and a slot in which a seal is put later.

The packet's text lies unpacked in every container we write, so that it is found and completed in place by its bytes.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr, unescape

from synhead.config.version import version
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.statement import GENERATOR, Statement

PACKET_ID = "W5M0MpCehiHzreSzNTczkc9d"  # the same in every XMP packet of the world
NAMESPACE = "urn:synhead:provenance:1"
_START = b"<x:xmpmeta"
_END = b"</x:xmpmeta>"
_SEAL = re.compile(rb'synhead:Seal="([^"]*)"')
_MAX_PACKET = 60_000
"""A JPEG segment holds 65,533 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet found in a file. ``slot``: where the seal's text begins and ends, None if it has no place for one."""

    fields: dict[str, str]
    slot: tuple[int, int] | None

    @property
    def source_uri(self) -> str | None:
        """IPTC's ``digitalSourceType``."""
        return self.fields.get("Iptc4xmpExt:DigitalSourceType")


def build_packet(statement: Statement, *, slot: int) -> str:
    """The packet's text with ``slot`` bytes of room for a seal (0: none)."""
    fields = {
        "Iptc4xmpExt:DigitalSourceType": statement.source_uri,
        "xmp:CreatorTool": f"{GENERATOR} {version()}",
        "synhead:Model": statement.model,
    }
    if statement.model_sha256 is not None:
        fields["synhead:ModelSHA256"] = statement.model_sha256
    if slot:
        fields["synhead:Seal"] = " " * slot
    attributes = " ".join(f"{name}={quoteattr(value, {chr(34): '&quot;'})}" for name, value in fields.items())
    text = (
        f'<?xpacket begin="\ufeff" id="{PACKET_ID}"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{GENERATOR}">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:synhead="{NAMESPACE}" {attributes}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    if len(text.encode()) > _MAX_PACKET:
        raise ProvenanceError("the certificate chain is too long for the metadata of a file; leave out its root")
    return text


def find_packet(path: Path) -> Packet | None:
    """Our packet in ``path``, None if there is none. Raises ProvenanceError if there are several."""
    if path.stat().st_size == 0:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = data.find(NAMESPACE.encode())
        if found < 0:
            return None
        if data.find(NAMESPACE.encode(), found + 1) >= 0:
            raise ProvenanceError(f"{path} holds several marks that contradict each other")
        begin, end = data.rfind(_START, 0, found), data.find(_END, found)
        if begin < 0 or end < 0 or end - begin > _MAX_PACKET:
            return None
        content = data[begin:end]
    seal = _SEAL.search(content)
    slot = None if seal is None else (begin + seal.start(1), begin + seal.end(1))
    return Packet(fields=_fields(content.decode("utf-8", "replace")), slot=slot)


def _fields(text: str) -> dict[str, str]:
    """The attributes, read without an XML parser: the packet is ours, and a file from elsewhere may hold anything."""
    pairs = re.findall(r'\b((?:Iptc4xmpExt|xmp|synhead):\w+)="([^"]*)"', text)
    return {name: unescape(value, {"&quot;": '"'}) for name, value in pairs}
