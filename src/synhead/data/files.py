"""Checks of input and output paths, and files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synhead.data.errors import MediaError

STANDARD = Path("-")
"""What many programs take for standard input and output."""
ADDRESSES = ("http:", "https:", "ftp:", "file:")
"""With what a name begins that is no path."""


def check_input(path: Path) -> Path:
    """``path`` if it is a readable, non-empty, regular file; MediaError otherwise."""
    try:
        if not path.exists():
            if path == STANDARD:
                raise MediaError("inputs are read more than once, so not from standard input; save it as a file first")
            if path.parts and path.parts[0].lower() in ADDRESSES:
                raise MediaError(f"{path} is an address, and inputs are files; download it first")
            raise MediaError(f"{path} does not exist; check the path")
        if path.is_dir():
            raise MediaError(f"{path} is a folder; name a file in it")
        if not path.is_file():
            raise MediaError(f"{path} is not a regular file; copy it to one first")
        if path.stat().st_size == 0:
            raise MediaError(f"{path} is empty; copy or download it again")
        with path.open("rb"):
            return path
    except MediaError:
        raise
    except (OSError, ValueError) as error:
        raise MediaError(f"{str(path)!r} cannot be read ({_reason(error)}); check its name and permissions") from error


def check_output(path: Path, *, inputs: Sequence[Path] = (), suffixes: Collection[str]) -> Path:
    """The real path (symbolic links followed) that will be written; MediaError if it cannot or must not be.

    ``inputs`` must not be overwritten: not by the same name, nor through a symbolic or hard link.
    """
    if path.suffix.lower() not in suffixes:
        raise MediaError(f"{path} does not end in {' or '.join(sorted(suffixes))}; choose such a name for the output")
    with _written_at(path):
        target = path.resolve()
        if target.is_dir():
            raise MediaError(f"{path} is a folder; name a file in it")
        if target.exists() and not target.is_file():
            raise MediaError(f"{path} is not a regular file; choose another name for the output")
        if target.exists() and not os.access(target, os.W_OK):
            raise MediaError(f"{path} is write-protected; choose another name for the output, or lift the protection")
        if not target.parent.is_dir():
            raise MediaError(f"folder {target.parent} does not exist; create it or choose another output")
        for given in inputs:
            if given.exists() and (given.resolve() == target or (target.exists() and given.samefile(target))):
                raise MediaError(f"output {path} is the input {given}; choose another name for the output")
        _probe(target.parent)
    return target


def check_folder_output(path: Path, *, inputs: Sequence[Path], ours: Callable[[Path], bool]) -> Path:
    """The real path of a folder that will be written as a whole; MediaError if it cannot or must not be.

    A folder that stands there may be empty or one of ``ours``; ``inputs`` and the working directory must not lie in it.
    """
    with _written_at(path):
        target = path.resolve()
        if path == STANDARD and not target.exists():
            raise MediaError("outputs are marked when they are complete, so not on standard output; name a file")
        if target.exists() and not target.is_dir():
            raise MediaError(f"{path} is a file; choose another name for the folder of pictures")
        if not target.parent.is_dir():
            raise MediaError(f"folder {target.parent} does not exist; create it or choose another output")
        for given in inputs:
            if target in (given.resolve(), *given.resolve().parents):
                raise MediaError(f"output {path} holds the input {given}; choose another name for the output")
        if _is_here(target):  # it is replaced as a whole, and whoever works in it would be in a folder that is gone
            raise MediaError(f"{path} is the folder you are in, or holds it; name a new folder")
        if target.is_dir() and any(target.iterdir()) and not ours(target):
            raise MediaError(f"{path} holds other files; choose an empty folder or a new name")
        _probe(target.parent)
    return target


@contextmanager
def replacing(path: Path, finish: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """A temporary path beside ``path``: renamed to it at the end, removed if the block or ``finish`` raises anything.

    Whatever stood at ``path`` stays untouched until the rename, which is atomic, and passes its permissions on.
    ``finish`` is called on the complete temporary file just before it.
    """
    temporary = _temporary(path)
    try:
        yield temporary
        if finish is not None:
            finish(temporary)
        move_file(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """An empty temporary folder beside ``path`` that takes its place at the end, removed if the block raises anything.

    An earlier folder stays untouched until then.
    """
    temporary = _temporary(path)
    try:
        temporary.mkdir()
        yield temporary
        move_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def move_file(file: Path, path: Path) -> None:
    """Let ``file`` take the place of ``path``, and the permissions of the file that stood there."""
    _pass_permissions(path, file)
    file.replace(path)


def move_folder(folder: Path, path: Path) -> None:
    """Let ``folder`` take the place of ``path`` and its permissions, and remove the folder that stood there.

    No system call exchanges folders portably: the earlier one is first moved aside, and moved back if its place cannot
    be taken.
    """
    aside = _temporary(path)
    _pass_permissions(path, folder)
    if path.exists():
        path.replace(aside)
    try:
        folder.replace(path)
    except BaseException:
        if aside.exists():
            aside.replace(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _is_here(folder: Path) -> bool:
    try:
        here = Path.cwd()
    except OSError:  # it is gone already
        return False
    return folder in (here, *here.parents)


def synchronise(path: Path) -> None:
    """Wait until a file, or which names a folder holds, is on the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written_at(path: Path) -> Iterator[None]:
    """What the system refuses in the block becomes a MediaError."""
    try:
        yield
    except MediaError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise MediaError(f"{path} cannot be written ({_reason(error)}); choose a folder you may write to") from error


def _probe(folder: Path) -> None:
    """OSError if no file can be made in ``folder``; where the system can, it is one that never has a name."""
    with tempfile.TemporaryFile(dir=folder):
        pass


def _pass_permissions(earlier: Path, new: Path) -> None:
    with suppress(OSError):  # nothing stood there, or a file system without permissions
        shutil.copymode(earlier, new)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.stem[:40]}.{uuid.uuid4().hex[:12]}.partial{path.suffix}")


def _reason(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
