"""Whether another machine sees the same files: small ones beside the outputs, for its workers to find."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from synhead.inference.job import AnimationJob


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What every worker must see as the queue's machine does. ``probes``: small files and their contents.
    ``folders``: of inputs.
    """

    probes: Mapping[Path, str]
    folders: tuple[Path, ...]


@contextmanager
def probed(jobs: Iterable[AnimationJob], mark: Path) -> Iterator[View]:
    """The view of those jobs. ``mark``: a path that no other run uses at the same time: what a kill leaves behind has
    the name of the next run's.
    """
    jobs = tuple(jobs)
    name = hashlib.sha256(str(mark.resolve()).encode()).hexdigest()[:12]
    outputs = [folder for folder in _folders(job.output for job in jobs) if os.access(folder, os.W_OK)]
    probes = {folder / f".synhead-{name}.probe": str(time.time_ns()) for folder in outputs}
    try:
        for probe, content in probes.items():
            probe.write_text(content)
        inputs = _folders(path for job in jobs for path in (job.source, job.driving))
        yield View(probes=probes, folders=tuple(inputs))
    finally:
        for probe in probes:
            probe.unlink(missing_ok=True)


def _folders(paths: Iterable[Path]) -> list[Path]:
    """Those that are there; jobs fail one by one for what is missing."""
    return sorted({folder for path in paths if (folder := path.resolve().parent).is_dir()})


def unseen(view: View) -> tuple[Path, ...]:
    """Folders in which this machine sees something else."""
    probes = (path.parent for path, content in view.probes.items() if not _holds(path, content))
    return (*probes, *(folder for folder in view.folders if not folder.is_dir()))


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_text() == content
    except OSError:
        return False
