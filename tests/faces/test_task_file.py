from __future__ import annotations

import hashlib
import socket

import pytest

from synhead.faces.analyzer import FaceError
from synhead.faces.task_file import LANDMARKER, TaskFile, cache_folder, fetch_task_file, find_task_file


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNHEAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SYNHEAD_WEIGHTS", raising=False)


def published(tmp_path, sha256: str | None = None) -> TaskFile:
    origin = tmp_path / "origin.task"
    origin.write_bytes(b"a model")
    return TaskFile(LANDMARKER.name, sha256 or hashlib.sha256(b"a model").hexdigest(), origin.as_uri())


def test_fetched_once_checked_and_then_found(tmp_path):
    wanted = published(tmp_path)
    assert find_task_file() is None
    path = fetch_task_file(wanted)
    assert path.read_bytes() == b"a model"
    assert find_task_file() == path
    (tmp_path / "origin.task").unlink()
    assert fetch_task_file(wanted) == path


def test_a_wrong_hash_leaves_nothing(tmp_path):
    wanted = published(tmp_path, "0" * 64)
    with pytest.raises(FaceError, match="0" * 64) as caught:
        fetch_task_file(wanted)
    assert LANDMARKER.name in str(caught.value)
    assert str(cache_folder() / LANDMARKER.name) in str(caught.value)
    assert list(cache_folder().iterdir()) == []


def test_without_a_connection_the_error_says_what_to_do(tmp_path):
    gone = TaskFile("face.task", "1" * 64, (tmp_path / "gone").as_uri())
    with pytest.raises(FaceError, match=r"download it from .* SHA-256 is 1+, and put it at"):
        fetch_task_file(gone)


def test_looking_for_the_file_never_uses_the_network(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("the network was used"))
    assert find_task_file() is None
