"""Folders of jobs: nobody else can read them, and those that a killed server has left are removed by the next one."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synhead.config import ConfigError

PREFIX = "synhead-web-"


class Workspace:
    """Makes folders whose names cannot be guessed, and removes them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self) -> Path:
        """A new, empty one; its name is 128 random bits in hexadecimal digits."""
        folder = self.root / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    def remove(self, folder: Path) -> None:
        """With all that is in it; nothing if it is gone."""
        shutil.rmtree(folder, ignore_errors=True)

    def keep_only(self, folder: Path, files: Sequence[Path]) -> None:
        """Remove all other files of a folder."""
        with suppress(OSError):  # whoever tidies up by hand may be faster
            for path in folder.iterdir():
                if path not in files:
                    path.unlink(missing_ok=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for the length of the block."""
        folder = self.folder()
        try:
            yield folder
        finally:
            self.remove(folder)


@contextmanager
def open_workspace(parent: Path | None = None) -> Iterator[Workspace]:
    """A workspace in ``parent`` (default: the system's folder of temporary files), removed with the block.

    It is locked while this process lives; earlier ones there that nobody holds any more are removed first. Raises
    ConfigError where no folder can be made.
    """
    place = Path(tempfile.gettempdir()) if parent is None else parent
    _remove_stale(place)
    try:
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place)).resolve()
    except OSError as error:
        raise ConfigError(f"no folder can be made in {place} ({error.strerror}); choose another --folder") from error
    lock = _lock(root)
    try:
        yield Workspace(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_stale(place: Path) -> None:
    for left in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another server that starts may be faster
            lock = _lock(left) if _ours(left) else None
            if lock is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(lock)


def _ours(folder: Path) -> bool:
    return sys.platform != "win32" and not folder.is_symlink() and folder.lstat().st_uid == os.getuid()


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock; None if another process does, or where there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl  # POSIX only

    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
