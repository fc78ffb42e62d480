"""Decoded frames kept on disk, so that the next run starts at once: one folder for each set of clips and size.

A folder appears under its name only when it is complete; runs on one host that want the same set wait for the one
that decodes it, and then share its pages through the memory map.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from synhead.data.files import replacing_folder
from synhead.data.records import Clip, Skipped, frame_paths
from synhead.data.sampling import ClipTable
from synhead.data.store import FrameStore, Progress, build_store

_VERSION = 2
"""Of what is kept: frames of HDR videos were once not brought to sRGB, and turned videos lay on their side."""
_FRAMES, _INDEX = "frames.npy", "clips.json"
_log = logging.getLogger(__name__)


def open_store(
    clips: Sequence[Clip],
    size: int,
    *,
    cache: Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> FrameStore:
    """The frames of ``clips`` in host memory: from ``cache`` if they are there, else decoded and kept there.

    A cache that cannot be written (disk full) is given up with a warning. Errors as in :func:`build_store`.
    """
    if cache is None:
        return build_store(clips, size, workers=workers, progress=progress)
    folder = cache / fingerprint(clips, size)
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f"{folder.name}.lock"):
        store = load_store(folder)
        if store is not None:
            return store
        store = build_store(clips, size, workers=workers, progress=progress)
        try:
            save_store(store, folder)
        except OSError as error:
            _log.warning("decoded frames are not kept: %s; free some space in %s", error, cache)
            return store
    return load_store(folder) or store


def fingerprint(clips: Sequence[Clip], size: int) -> str:
    """Name of the folder that caches ``clips``: changes with their names, people, kinds, file sizes and ``size``."""
    digest = hashlib.sha256(f"{_VERSION} {size}".encode())
    for clip in clips:
        stamp = clip.span[1] if clip.span else len(clip.data) if clip.data is not None else _stamp(clip.path)
        digest.update(json.dumps([clip.name, clip.person, clip.generated, stamp]).encode())
    return digest.hexdigest()[:24]


def _stamp(path: Path) -> int | str:
    if not path.exists():
        return -1
    if not path.is_dir():
        return path.stat().st_size
    frames, changed = frame_paths(path), path.stat().st_mtime_ns
    # Frames were once cached in the order of text, which for unpadded numbers is another one.
    return changed if frames == sorted(frames) else f"{changed} by number"


def save_store(store: FrameStore, folder: Path) -> None:
    """Write ``store`` as ``folder``, complete or not at all.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with replacing_folder(folder) as partial:
        np.save(partial / _FRAMES, store.frames.cpu().numpy())
        index = {
            "version": _VERSION,
            "offsets": store.offsets.tolist(),
            "names": store.table.names,
            "people": store.table.people,
            "person": store.table.person.tolist(),
            "generated": store.table.generated.tolist(),
            "skipped": [[skip.name, skip.reason] for skip in store.skipped],
        }
        (partial / _INDEX).write_text(json.dumps(index))


def load_store(folder: Path) -> FrameStore | None:
    """The store kept in ``folder``, memory-mapped (copy on write); None if there is none, or none that is whole."""
    if not (folder / _INDEX).is_file():
        return None
    try:
        index = json.loads((folder / _INDEX).read_text())
        frames = np.load(folder / _FRAMES, mmap_mode="c")
        if index["version"] != _VERSION or index["offsets"][-1] != len(frames):
            return None
        return FrameStore(
            frames=torch.from_numpy(frames),
            offsets=np.array(index["offsets"], dtype=np.int64),
            table=ClipTable(
                names=tuple(index["names"]),
                people=tuple(index["people"]),
                person=np.array(index["person"], dtype=np.int64),
                generated=np.array(index["generated"], dtype=np.bool_),
            ),
            skipped=tuple(Skipped(name, reason) for name, reason in index["skipped"]),
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        _log.warning("cache %s is broken (%s); decoding again", folder, error)
        return None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one process of this host at a time; released by the system if that process dies."""
    with path.open("w") as file:
        if sys.platform != "win32":
            import fcntl  # noqa: PLC0415  (POSIX only; elsewhere two runs may both decode, harmlessly)

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
