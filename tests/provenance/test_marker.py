"""Every kind of output carries a mark, and the mark notices what happens to the file."""

from __future__ import annotations

import resource
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.outputs import open_output
from synhead.data.video import read_frames
from synhead.provenance import extras
from synhead.provenance.certificates import read_anchors
from synhead.provenance.credentials import Credentials
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.manifest import MEDIA_TYPES
from synhead.provenance.marker import Marker, default_marker
from synhead.provenance.statement import SOURCE_TYPES, Statement
from synhead.provenance.verify import verify_file
from tests.output_kinds import FOLDER, KINDS, VIDEOS, contents, first_file, frame_count, pictures, spec, write
from tests.provenance.conftest import SAID

ISO = (".mp4", ".m4v", ".mov")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_marked_by_default(tmp_path: Path, name: str) -> None:
    """As a caller who says nothing about signers gets it, on every file of a sequence too."""
    write(tmp_path / name, default_marker())
    files = sorted((tmp_path / name).glob("*.png")) if name == FOLDER else [tmp_path / name]
    assert len(files) == (frame_count(name) if name == FOLDER else 1)
    for file in files:
        verdict = verify_file(file)
        assert verdict.state == "intact", verdict.problem
        assert verdict.source_type == SOURCE_TYPES["trained"]
        assert verdict.carrier == ("c2pa" if file.suffix in MEDIA_TYPES else "seal")
        assert verdict.signed
        assert not verdict.trusted


@pytest.mark.parametrize("name", KINDS)
def test_marks_say_what_made_the_file(tmp_path: Path, name: str, marker: Marker) -> None:
    verdict = verify_file(first_file(write(tmp_path / name, marker)))
    assert verdict.state == "intact"
    assert (verdict.model, verdict.model_sha256) == (SAID.model, SAID.model_sha256)
    assert verdict.generator is not None
    assert verdict.generator.startswith("Synhead ")


@pytest.mark.parametrize("name", KINDS)
def test_marked_files_play(tmp_path: Path, name: str, marker: Marker) -> None:
    path = first_file(write(tmp_path / name, marker))
    if name in VIDEOS:
        assert [frame.time for frame in read_frames(path)] == [Fraction(i, 25) for i in range(6)]
    else:
        with Image.open(path) as image:
            image.load()
            assert getattr(image, "n_frames", 1) == (6 if name == "a.gif" else 1)


def media_places(path: Path) -> list[int]:
    """Positions of bytes that are pictures."""
    data = path.read_bytes()
    if path.suffix == ".png":
        start = data.index(b"IDAT") + 4
        length = struct.unpack(">I", data[start - 8 : start - 4])[0]
        return [start + length // 3, start + length // 2]
    if path.suffix in {".jpg", ".jpeg", ".webp"}:
        start = data.index(b"VP8 " if path.suffix == ".webp" else b"\xff\xda")
        return [start + 60, start + 200]
    with av.open(str(path)) as container:
        # Late in each packet: FFmpeg counts a GIF's header and metadata to its first picture.
        return [packet.pos + packet.size * 7 // 8 for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_byte_of_the_pictures_is_noticed(tmp_path: Path, name: str, marker: Marker) -> None:
    path = first_file(write(tmp_path / name, marker))
    whole = path.read_bytes()
    places = media_places(path)
    assert places
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        verdict = verify_file(path)
        assert verdict.state == "broken", place
        assert verdict.problem
        assert not verdict.trusted


@pytest.mark.parametrize("name", KINDS)
def test_no_byte_at_all_escapes_a_seal(tmp_path: Path, name: str, signer: Credentials) -> None:
    """Every seventh byte of the whole file, the seal's own included."""
    sealed = Marker(SAID, signer if name in ("a.mkv", "a.webm") else None)
    path = first_file(write(tmp_path / name, sealed))
    whole = path.read_bytes()
    for place in range(0, len(whole), max(7, len(whole) // 300)):
        data = bytearray(whole)
        data[place] ^= 4
        path.write_bytes(data)
        assert verify_file(path).state != "intact", place


@pytest.mark.parametrize("change", [lambda data: data + b"\0", lambda data: data[:-1], lambda data: data[:-200]])
@pytest.mark.parametrize("name", KINDS)
def test_longer_and_shorter_files_are_noticed(tmp_path: Path, name: str, change, marker: Marker) -> None:
    path = first_file(write(tmp_path / name, marker))
    path.write_bytes(change(path.read_bytes()))
    assert verify_file(path).state != "intact"


@pytest.mark.parametrize("name", KINDS)
def test_a_stripped_file_has_no_mark(tmp_path: Path, name: str, marker: Marker) -> None:
    """The same pictures, written again without metadata."""
    path = first_file(write(tmp_path / name, marker))
    bare = path.with_name(f"bare{path.suffix}")
    if name in VIDEOS:
        _copy_streams(path, bare)
    else:
        with Image.open(path) as image:
            clean = Image.fromarray(np.array(image.convert("RGB")))
        clean.save(bare)
    verdict = verify_file(bare)
    assert (verdict.carrier, verdict.state) == ("none", "unmarked")


def _copy_streams(path: Path, bare: Path) -> None:
    with av.open(str(path)) as source, av.open(str(bare), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)


@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.gif"])
def test_a_removed_manifest_leaves_a_word_but_no_proof(tmp_path: Path, name: str, signer: Credentials) -> None:
    """What the file is like before it is signed: XMP says that it is generated, and nothing more is claimed."""

    class Unsigned(Marker):
        def finish(self, path: Path) -> None:
            pass

    verdict = verify_file(write(tmp_path / name, Unsigned(SAID, signer)))
    assert (verdict.carrier, verdict.state) == ("xmp", "unsealed")
    assert verdict.source_type == SOURCE_TYPES["trained"]


def test_a_second_mark_is_a_contradiction(tmp_path: Path, signer: Credentials) -> None:
    path = write(tmp_path / "a.mkv", Marker(SAID, signer))
    path.write_bytes(path.read_bytes() * 2)
    verdict = verify_file(path)
    assert verdict.state == "broken"
    assert "several" in str(verdict.problem)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_composites_say_so(tmp_path: Path, name: str, signer: Credentials) -> None:
    path = write(tmp_path / name, Marker(Statement(source_type="composite"), signer))
    assert verify_file(path).source_type == SOURCE_TYPES["composite"]


def test_nothing_of_the_users_files_is_told_unless_asked(tmp_path: Path, signer: Credentials) -> None:
    photo = write(tmp_path / "a.jpg").rename(tmp_path / "holiday-with-anna.jpg")
    plain = write(tmp_path / "plain.mp4", Marker(SAID, signer)).read_bytes()
    told = write(tmp_path / "told.mp4", Marker(Statement(source_photo=photo), signer))
    assert b"ingredient" not in plain
    assert b"ingredient" in told.read_bytes()
    assert verify_file(told).state == "intact"
    for content in (plain, told.read_bytes()):
        assert b"anna" not in content
        assert b"plain" not in content.replace(b"plaintext", b"")


def test_an_ingredient_of_an_unknown_kind_fails_in_one_line(tmp_path: Path, signer: Credentials) -> None:
    marker = Marker(Statement(source_photo=tmp_path / "photo.bmp"), signer)
    with pytest.raises(ProvenanceError, match="JPEG, PNG or WebP"):
        write(tmp_path / "a.mp4", marker)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KINDS)
def test_a_disk_that_fills_while_marking_leaves_the_earlier_output(
    tmp_path: Path, name: str, signer: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name, Marker(SAID, signer))
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    finish = Marker.finish

    def finish_on_full_disk(self: Marker, path: Path) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        try:
            finish(self, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(Marker, "finish", finish_on_full_disk)
    with pytest.raises((ProvenanceError, MediaError), match="could not be written") as caught:
        write(tmp_path / name, Marker(SAID, signer))
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", KINDS)
def test_ctrl_c_while_marking_loses_nothing(
    tmp_path: Path, name: str, signer: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / name, Marker(SAID, signer))
    before = contents(tmp_path)

    def stop(self: Marker, path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Marker, "finish", stop)
    with pytest.raises(KeyboardInterrupt), open_output(tmp_path / name, spec(Marker(SAID, signer))) as output:
        output.write(pictures(1)[0])
    assert contents(tmp_path) == before


@pytest.mark.parametrize("missing", ["c2pa", "cryptography"])
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.png"])
def test_without_the_extra_a_seal_is_there(
    tmp_path: Path, name: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, missing)
    verdict = verify_file(write(tmp_path / name, default_marker()))
    if missing == "c2pa":
        assert (verdict.carrier, verdict.state, verdict.signed) == ("seal", "intact", True)
    else:
        assert (verdict.carrier, verdict.state, verdict.signed) == ("seal", "intact", False)


def test_a_named_signer_needs_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hide(monkeypatch, "cryptography")
    with pytest.raises(ProvenanceError, match=r"synhead\[provenance\]"):
        default_marker(certificate=tmp_path / "a.pem", key=tmp_path / "b.pem")
    default_marker()
    monkeypatch.setenv("SYNHEAD_SIGN_CERT", "a.pem")  # outputs were left unsigned without a word
    with pytest.raises(ProvenanceError, match=r"synhead\[provenance\]"):
        default_marker()


def test_without_the_extra_signed_files_ask_for_it(
    tmp_path: Path, signer: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, manifested = (write(tmp_path / name, Marker(SAID, signer)) for name in ("a.mkv", "a.mp4"))
    hide(monkeypatch, "c2pa", "cryptography")
    with pytest.raises(ProvenanceError, match=r"synhead\[provenance\]"):
        verify_file(sealed)
    verdict = verify_file(manifested)
    assert verdict.state == "unsealed"
    assert "synhead[provenance]" in str(verdict.problem)


def test_without_the_extra_a_trusted_certificate_asks_for_it(
    tmp_path: Path, signer: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was said to hold no certificate, with the advice to convert it."""
    (tmp_path / "root.pem").write_bytes(signer.chain)
    hide(monkeypatch, "cryptography")
    with pytest.raises(ProvenanceError, match=r"without cryptography; pip install 'synhead\[provenance\]'"):
        read_anchors(tmp_path / "root.pem")


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if they were not installed."""
    monkeypatch.setattr(extras, "installed", lambda name: name not in packages)
