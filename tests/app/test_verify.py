"""``synhead verify``: what it prints and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from synhead.provenance.credentials import config_folder
from synhead.provenance.marker import Marker, default_marker
from synhead.provenance.statement import SOURCE_TYPES, Statement
from tests.app.conftest import Finished
from tests.output_kinds import FOLDER, KINDS, first_file, write

Run = Callable[..., Finished]


@pytest.mark.parametrize("name", KINDS)
def test_marked_files_of_every_kind_are_intact(run: Run, tmp_path: Path, name: str) -> None:
    write(tmp_path / name, default_marker(Statement(model="tiny")))
    finished = run("verify", tmp_path / name)
    assert finished.code == 0
    for part in ("intact", SOURCE_TYPES["trained"], "model: tiny", "made by: Synhead", "NOT trusted"):
        assert part in finished.out


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_trusted_signers_are_said_to_be(run: Run, tmp_path: Path, name: str) -> None:
    write(tmp_path / name, default_marker())
    finished = run("verify", tmp_path / name, "--trust", config_folder() / "test-signer.pem")
    assert finished.code == 0
    assert "trusted through" in finished.out
    assert "NOT" not in finished.out


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
@pytest.mark.parametrize("form", ["der", "utf8", "latin1", "bom"])
def test_trusted_certificates_as_they_come(run: Run, tmp_path: Path, name: str, form: str) -> None:
    """DER, and PEM with comments by people who do not write ASCII alone."""
    write(tmp_path / name, default_marker())
    pem = (config_folder() / "test-signer.pem").read_bytes()
    root = x509.load_pem_x509_certificates(pem)[-1]
    content = {
        "der": root.public_bytes(Encoding.DER),
        "utf8": "# Aussteller: Grün, 北京\n".encode() + pem,
        "latin1": "# Aussteller: Grün\r\n".encode("latin-1") + pem,
        "bom": b"\xef\xbb\xbf" + pem,
    }
    (tmp_path / "trusted").write_bytes(content[form])
    finished = run("verify", tmp_path / name, "--trust", tmp_path / "trusted")
    assert (finished.code, finished.err) == (0, "")
    assert "trusted through" in finished.out


@pytest.mark.parametrize(
    "content", [b"\x30\x82 no certificate", "Grüße".encode(), b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERT"]
)
def test_what_is_no_certificate_is_refused(run: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trusted").write_bytes(content)
    finished = run("verify", write(tmp_path / "a.webm", default_marker()), "--trust", tmp_path / "trusted")
    assert finished.code == 2
    assert finished.err.startswith(f"error: {tmp_path / 'trusted'} holds no certificate in PEM or DER; convert")


def test_unmarked_files_end_with_one(run: Run, tmp_path: Path) -> None:
    finished = run("verify", write(tmp_path / "a.mp4"))
    assert finished.code == 1
    assert "unmarked" in finished.out


def test_a_hash_alone_is_said_to_be_no_signature(run: Run, tmp_path: Path) -> None:
    finished = run("verify", write(tmp_path / "a.mp4", Marker(Statement(), None)))
    assert finished.code == 0
    assert "a hash alone" in finished.out


def test_one_changed_picture_of_a_folder_is_named(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / FOLDER, default_marker())
    third = folder / "000002.png"
    third.write_bytes(third.read_bytes()[:-30])
    finished = run("verify", folder)
    assert finished.code == 1
    assert "5 of 6" in finished.out
    assert "000002.png: broken" in finished.out
    third.unlink()
    assert run("verify", folder).code == 2


def test_a_picture_put_into_a_folder_is_looked_at_too(run: Run, tmp_path: Path) -> None:
    folder = write(tmp_path / FOLDER, default_marker())
    shutil.move(write(tmp_path / "a.png"), folder / "000006.png")
    finished = run("verify", folder)
    assert finished.code == 1
    assert "6 of 7" in finished.out
    assert "000006.png: unmarked" in finished.out


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.gif", "a.png", "a.jpg", "a.webp"])
@pytest.mark.parametrize("called", ["a", "a.JPG", "a.mkv"])
def test_a_file_is_what_it_holds_whatever_its_name(run: Run, tmp_path: Path, name: str, called: str) -> None:
    path = write(tmp_path / name, default_marker())
    finished = run("verify", path.rename(tmp_path / called))
    assert (finished.code, "intact" in finished.out) == (0, True), finished.out


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.png"])
def test_of_a_broken_mark_nothing_is_claimed(run: Run, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, default_marker())
    path.write_bytes(path.read_bytes() + b"more")
    finished = run("verify", path)
    assert finished.code == 1
    assert "proves nothing" in finished.out
    assert not {"unchanged", "None", "nobody"} & set(finished.out.replace(",", " ").split())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", FOLDER])
def test_json(run: Run, tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, default_marker())
    facts = json.loads(run("verify", path, "--json").out)
    assert facts["intact"] is True
    assert {entry["state"] for entry in facts["files"]} == {"intact"}
    assert facts["files"][0]["path"] == str(first_file(path))
    assert facts["files"][0]["trusted"] is False


def test_what_cannot_be_read_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given in (tmp_path / "none.mp4", tmp_path / "empty"):
        finished = run("verify", given)
        assert finished.code == 2
        assert finished.err.startswith("error: ")
