import errno
import os
import resource
import signal
from pathlib import Path

import pytest
import torch

from synhead.training import checkpoint
from synhead.training.checkpoint import CheckpointFolder, Snapshot, read, write
from synhead.weights.checkpoint import CheckpointError


def make(value: float) -> Snapshot:
    return Snapshot(tensors={"model": {"weight": torch.full((3,), value)}, "other": {}}, scalars={"value": value})


def test_round_trip(tmp_path: Path) -> None:
    saved = read(write(tmp_path / "one", make(2.5)))
    assert saved.scalars == {"value": 2.5}
    assert torch.equal(saved.tensors["model"]["weight"], torch.full((3,), 2.5))
    assert saved.tensors["other"] == {}
    assert not list(tmp_path.glob(".*"))


def test_keeps_the_newest_and_points_to_the_last(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    assert folder.latest() is None
    for iteration in (1, 2, 10):
        folder.save(iteration, make(float(iteration)))
    assert [path.name for path in folder.all()] == ["iteration-000000002", "iteration-000000010"]
    assert folder.latest() == folder.path(10)


@pytest.mark.parametrize("keep", [1, 2])
def test_what_goes_on_from_an_older_checkpoint_is_kept(tmp_path: Path, keep: int) -> None:
    """Later iterations, of before ``last`` was made to name an older one, are not newer than what is saved now."""
    for iteration in (1, 8, 9):
        CheckpointFolder(tmp_path, keep=3).save(iteration, make(float(iteration)))
    (tmp_path / "last").write_text("iteration-000000001\n")
    folder = CheckpointFolder(tmp_path, keep=keep)
    folder.save(2, make(2.0))
    latest = folder.latest()
    assert latest == folder.path(2)
    assert read(latest).scalars["value"] == 2.0
    assert len(folder.all()) == keep
    folder.save(3, make(3.0))
    assert folder.latest() == folder.path(3)
    assert len(folder.all()) == keep


def test_a_stale_pointer_is_repaired(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(1, make(1.0))
    (tmp_path / "last").write_text("iteration-000000009\n")
    assert folder.latest() == folder.path(1)


def test_saving_an_iteration_again_replaces_it(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(1, make(1.0))
    folder.save(1, make(2.0))
    assert read(folder.path(1)).scalars["value"] == 2.0


@pytest.mark.parametrize("call", range(4))
def test_killed_at_any_point_of_a_write_the_old_checkpoint_stands(tmp_path: Path, call: int) -> None:
    """A child is killed by SIGKILL at its ``call``-th synchronisation; the parent finds the old or the new state."""
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(1, make(1.0))
    child = os.fork()
    if child == 0:
        calls = iter(range(100))

        def die(path: Path) -> None:
            if next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.synchronise = die
        folder.save(2, make(2.0))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    latest = folder.latest()
    assert latest == folder.path(1)
    assert read(latest).scalars["value"] == 1.0
    folder.clean()
    assert not list(tmp_path.glob(".writing-*"))


def test_a_full_disk_is_named_and_the_old_checkpoint_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(1, make(1.0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "synchronise", full)
    with pytest.raises(CheckpointError, match="the disk is full; earlier checkpoints are intact"):
        folder.save(2, make(2.0))
    assert folder.latest() == folder.path(1)
    assert not list(tmp_path.glob(".writing-*"))


def test_a_really_refused_write_is_named(tmp_path: Path) -> None:
    """The kernel refuses to write past a size: the library's own error must be understood too."""
    folder = CheckpointFolder(tmp_path, keep=3)
    folder.save(1, make(1.0))
    big = Snapshot(tensors={"model": {"weight": torch.zeros(1_000_000)}}, scalars={})
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="the disk is full"):
            folder.save(2, big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert folder.latest() == folder.path(1)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "one", make(1.0))
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="resume from an older checkpoint"):
        read(path)
    with pytest.raises(CheckpointError, match="no training checkpoint"):
        read(tmp_path / "none")
