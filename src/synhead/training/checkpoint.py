"""Checkpoint folders that are whole or absent: safetensors for tensors, JSON for scalars, no pickle.

A checkpoint is written to a temporary folder, synchronised to disk and renamed, so a kill at any moment leaves either
the old state of affairs or the new one. ``last`` names the newest; a stale or missing pointer is repaired by looking.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from synhead.data.files import synchronise
from synhead.weights.errors import CheckpointError
from synhead.weights.tensor_files import write_tensors

Tensors = Mapping[str, Tensor]

_SCALARS = "state.json"
_PREFIX = "iteration-"
_TEMPORARY = ".writing-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds: tensors by file (name without suffix), then by name; and JSON scalars."""

    tensors: Mapping[str, Tensors]
    scalars: Mapping[str, Any]


def write(directory: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot to ``directory``, which appears whole or not at all. Raises CheckpointError."""
    temporary = directory.with_name(f"{_TEMPORARY}{directory.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, tensors in snapshot.tensors.items():
            path = temporary / f"{name}.safetensors"
            write_tensors({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, path)
            synchronise(path)
        scalars = temporary / _SCALARS
        scalars.write_text(json.dumps(snapshot.scalars, indent=2) + "\n", encoding="utf-8")
        synchronise(scalars)
        synchronise(temporary)
        _replace(temporary, directory)
        synchronise(directory.parent)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(_explain(directory, error)) from error
    return directory


def read(directory: Path) -> Snapshot:
    """Inverse of :func:`write`. Raises CheckpointError naming the damaged or missing file."""
    if not (directory / _SCALARS).is_file():
        raise CheckpointError(f"{directory} is no training checkpoint: {_SCALARS} is missing")
    try:
        scalars = json.loads((directory / _SCALARS).read_text(encoding="utf-8"))
        tensors = {path.stem: load_file(path) for path in sorted(directory.glob("*.safetensors"))}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{directory} cannot be read ({error}); resume from an older checkpoint") from error
    return Snapshot(tensors=tensors, scalars=scalars)


class CheckpointFolder:
    """The checkpoints of one run: ``iteration-000005000/`` and so on, and the file ``last``."""

    def __init__(self, root: Path, *, keep: int) -> None:
        self.root = root
        self.keep = keep

    def path(self, iteration: int) -> Path:
        """Where the checkpoint of an iteration is or would be."""
        return self.root / f"{_PREFIX}{iteration:09d}"

    def save(self, iteration: int, snapshot: Snapshot) -> Path:
        """Write the snapshot, move the pointer to it, then remove all but ``keep``: it and the newest of the others.

        Later iterations are there where a run goes on from an older checkpoint that ``last`` was made to name.
        """
        directory = write(self.path(iteration), snapshot)
        self._point_to(directory)
        others = [path for path in self.all() if path != directory]
        for old in others[: max(0, len(others) - (self.keep - 1))]:
            shutil.rmtree(old, ignore_errors=True)
        return directory

    def latest(self) -> Path | None:
        """The checkpoint that ``last`` names, or the newest whole one; None in a run without checkpoints."""
        pointer = self.root / "last"
        if pointer.is_file():
            named = self.root / pointer.read_text(encoding="utf-8").strip()
            if (named / _SCALARS).is_file():
                return named
            _log.warning("%s names %s, which is not there; using the newest checkpoint", pointer, named.name)
        found = self.all()
        return found[-1] if found else None

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        return sorted(path for path in self.root.glob(f"{_PREFIX}*") if (path / _SCALARS).is_file())

    def clean(self) -> None:
        """Remove what a killed writer left behind."""
        for path in self.root.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path, ignore_errors=True)

    def _point_to(self, directory: Path) -> None:
        pointer = self.root / "last"
        temporary = self.root / f"{_TEMPORARY}last"
        try:
            temporary.write_text(directory.name + "\n", encoding="utf-8")
            synchronise(temporary)
            temporary.replace(pointer)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise CheckpointError(_explain(directory, error)) from error


def _replace(temporary: Path, directory: Path) -> None:
    """Rename over a checkpoint of the same iteration, if there is one."""
    if directory.exists():
        shutil.rmtree(directory)
    temporary.rename(directory)


def _explain(directory: Path, error: Exception) -> str:
    text = str(error)
    full = (isinstance(error, OSError) and error.errno in _FULL) or any(f"os error {code}" in text for code in _FULL)
    cause = "the disk is full" if full else text
    return f"checkpoint {directory} was not written: {cause}; earlier checkpoints are intact: free space, then --resume"
