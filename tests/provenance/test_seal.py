"""The seal's text and its digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from synhead.provenance.credentials import Credentials
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.seal import Seal, digest, seal_file, slot_size
from synhead.provenance.statement import Statement
from synhead.provenance.xmp import build_packet, find_packet


def test_text_and_back(signer: Credentials) -> None:
    for seal in (Seal(digest="ab" * 32), Seal(digest="ab" * 32, signature=b"s", certificates=signer.chain)):
        assert Seal.parse(seal.text()) == seal
    for text in ("", "a b", "a b c d", "digest !!! ???"):
        assert Seal.parse(text) is None


def test_digest_is_that_of_the_file_with_the_slot_blank(tmp_path: Path) -> None:
    """Also where the slot crosses the border of a block."""
    content = bytes(range(256)) * 8200
    (tmp_path / "a").write_bytes(content)
    slot = ((1 << 20) - 10, (1 << 20) + 7)
    expected = content[: slot[0]] + b" " * 17 + content[slot[1] :]
    assert digest(tmp_path / "a", slot) == hashlib.sha256(expected).hexdigest()


def test_packets_keep_special_characters(tmp_path: Path) -> None:
    name = 'a "b" <c> & d\'s \N{GREEK SMALL LETTER ALPHA}'
    (tmp_path / "a").write_bytes(b"before" + build_packet(Statement(model=name), slot=0).encode() + b"after")
    packet = find_packet(tmp_path / "a")
    assert packet is not None
    assert packet.fields["synhead:Model"] == name
    assert packet.slot is None


def test_no_place_for_a_seal(tmp_path: Path) -> None:
    (tmp_path / "a.webm").write_bytes(b"nothing of ours")
    with pytest.raises(ProvenanceError, match="no place for a mark"):
        seal_file(tmp_path / "a.webm", None)


def test_a_place_that_is_too_small(tmp_path: Path, signer: Credentials) -> None:
    (tmp_path / "a.webm").write_bytes(build_packet(Statement(), slot=slot_size(None)).encode())
    with pytest.raises(ProvenanceError, match="shorter certificate chain"):
        seal_file(tmp_path / "a.webm", signer)


def test_a_chain_too_long_for_a_file(signer: Credentials) -> None:
    long = Credentials(key=signer.key, chain=signer.chain * 40)
    with pytest.raises(ProvenanceError, match="too long"):
        build_packet(Statement(), slot=slot_size(long))
