"""An output waits complete under a known name beside its place, until the journal says what it is."""

from __future__ import annotations

import glob
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from synhead.data.files import move_file, move_folder, synchronise
from synhead.weights.hub import file_sha256

STEM = 16
"""Characters of the output's name in that of the waiting one: with its mark they fit into the 40 that temporary names
keep."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Bytes and SHA-256 of a file, or of the names and contents of a folder's files."""

    size: int
    sha256: str


def staged_path(output: Path, attempt: str) -> Path:
    """Where an attempt writes: a name of its own in the real folder of ``output``, of the same kind."""
    target = output.resolve()
    stem = target.stem[:STEM].lstrip(".")  # a second dot in front would make all that follows a suffix
    return target.with_name(f".{stem}-{attempt}-staged{target.suffix}")


def seal(path: Path) -> Seal | None:
    """What stands at ``path``, safe on the disk; None if nothing does."""
    if not path.exists():
        return None
    if path.is_file():
        synchronise(path)
        return Seal(path.stat().st_size, file_sha256(path))
    digest, size = hashlib.sha256(), 0
    for file in sorted(path.iterdir()):
        synchronise(file)
        digest.update(f"{file.name}\0{file_sha256(file)}\n".encode())
        size += file.stat().st_size
    synchronise(path)
    return Seal(size, digest.hexdigest())


def publish(staged: Path, output: Path) -> None:
    """Rename what waits to its place."""
    target = output.resolve()
    if staged.is_dir():
        move_folder(staged, target)
    else:
        move_file(staged, target)
    synchronise(target.parent)


def discard(output: Path, attempt: str) -> None:
    """Remove what an attempt left: the waiting output, and its writer's temporary files."""
    staged = staged_path(output, attempt)
    pattern = f".{glob.escape(staged.stem)}.*.partial*{glob.escape(staged.suffix)}"  # also while it is being marked
    for left in (staged, *staged.parent.glob(pattern)):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
