"""Reading a mark: what it says, whether the file is as it was when it was marked, and whether its signer is trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from synhead.provenance import extras, manifest
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.seal import Seal, digest, read_seal
from synhead.provenance.xmp import Packet, find_packet

Carrier = Literal["c2pa", "seal", "xmp", "none"]
State = Literal["intact", "broken", "unsealed", "unmarked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found in one file.

    ``carrier``: a C2PA manifest, our seal in XMP, an XMP field alone, or nothing. ``state``: ``intact`` (no byte that
    the mark covers has changed), ``broken``, ``unsealed`` (it says that it is generated, but nothing shows whether it
    has changed) or ``unmarked``. ``signed``: whether a key was used; ``trusted``: whether the signer's certificate
    leads to one that the caller trusts. ``source_type``: IPTC's address. ``problem``: why it is not intact.
    """

    path: Path
    carrier: Carrier
    state: State
    signed: bool = False
    trusted: bool = False
    source_type: str | None = None
    generator: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    signer: str | None = None
    problem: str | None = None


def verify_file(path: Path, *, anchors: bytes | None = None) -> Verdict:
    """Check the mark of one file. ``anchors``: PEM certificates of trusted issuers, of ASCII alone as ``read_anchors``
    gives them; none are built in.

    Raises ProvenanceError if the file cannot be read, or what it takes to check it is not installed.
    """
    try:
        if extras.installed("c2pa"):
            report = manifest.read_manifest(path, anchors)
            if report is not None:
                return _of_manifest(path, report)
        packet = find_packet(path)
    except ProvenanceError as error:
        return Verdict(path=path, carrier="seal", state="broken", problem=str(error))
    except OSError as error:
        raise ProvenanceError(f"{path} cannot be read ({error.strerror}); check the path") from error
    if packet is None or packet.source_uri is None:
        return Verdict(path=path, carrier="none", state="unmarked", problem="no mark of ours was found")
    return _of_packet(path, packet, anchors)


def _of_manifest(path: Path, report: manifest.ManifestReport) -> Verdict:
    intact = report.is_intact
    return Verdict(
        path=path,
        carrier="c2pa",
        state="intact" if intact else "broken",
        signed=True,
        trusted=intact and report.state == "Trusted",
        source_type=report.source_uri,
        generator=report.generator,
        model=report.model,
        model_sha256=report.model_sha256,
        signer=report.signer,
        problem=None if intact else ", ".join(report.failures) or report.state,
    )


def _of_packet(path: Path, packet: Packet, anchors: bytes | None) -> Verdict:
    said = Verdict(
        path=path,
        carrier="xmp" if packet.slot is None else "seal",
        state="unsealed",
        source_type=packet.source_uri,
        generator=packet.fields.get("xmp:CreatorTool"),
        model=packet.fields.get("synhead:Model"),
        model_sha256=packet.fields.get("synhead:ModelSHA256"),
    )
    if packet.slot is None:
        return replace(said, problem=_why_unsealed(path))
    seal = read_seal(path, packet)
    if seal is None:
        return replace(said, state="broken", problem="the seal is damaged")
    if seal.digest != digest(path, packet.slot):
        return replace(said, state="broken", signed=seal.signature is not None, problem="the file's bytes have changed")
    if seal.signature is None:
        return replace(said, state="intact")
    return _signed(said, seal, anchors)


def _signed(said: Verdict, seal: Seal, anchors: bytes | None) -> Verdict:
    """The bytes are as the seal says; whether the seal is the signer's."""
    if not extras.installed("cryptography"):
        raise ProvenanceError(f"{said.path} is signed; to check that, {extras.REMEDY}")
    from synhead.provenance import credentials  # noqa: PLC0415 - optional

    said = replace(said, signed=True, signer=credentials.common_name(seal.certificates))
    if not credentials.signature_is_valid(seal.certificates, seal.signature or b"", seal.message):
        return replace(said, state="broken", problem="the signature does not fit")
    trusted = anchors is not None and credentials.is_issued_by(seal.certificates, anchors)
    return replace(said, state="intact", trusted=trusted)


def _why_unsealed(path: Path) -> str:
    if manifest.media_type(path) is not None and not extras.installed("c2pa"):
        return f"to check its C2PA manifest, {extras.REMEDY}"
    return "its manifest was removed: nothing shows whether the file has changed"
