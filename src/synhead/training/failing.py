"""What a run leaves where training fails: all that was saved or logged, or nothing, not even its name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from synhead.config import ConfigError
from synhead.training.config import TrainingConfig
from synhead.training.run import Run
from synhead.training.tracking import CURVES_FILE

_SAVED = ("best", "weights*")
_DRIVERS_WORDS = "CUDA error: out of memory"


@contextmanager
def nothing_left(run: Run) -> Iterator[None]:
    """Around training: where it raises and nothing was saved or logged, a folder that this start began is as it was
    before, so that the next start may have the name. One that was there before, or has curves, stays for ``--resume``.
    """
    try:
        yield
    except BaseException:
        run.trackers.close()
        if run.begun and not _holds_results(run):
            _clear(run)
        raise
    run.trackers.close()


@contextmanager
def memory_told(config: TrainingConfig) -> Iterator[None]:
    """A GPU whose memory is too small becomes a ConfigError of one line that names what takes less."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _DRIVERS_WORDS not in str(error):
            raise
        remedies = [f"a --batch smaller than {config.batch}, with --accumulate for as many pairs a step"]
        if config.batch == 1:
            remedies = ["a smaller --preset"]
        if config.execution.precision != "bf16":
            remedies.append("--precision bf16")
        raise ConfigError(f"out of GPU memory: choose {', or '.join(remedies)}") from error


def _holds_results(run: Run) -> bool:
    curves = run.folder / CURVES_FILE
    logged = curves.is_file() and curves.stat().st_size > 0
    saved = any(path for name in _SAVED for path in run.folder.glob(name))
    return logged or saved or run.checkpoints.latest() is not None


def _clear(run: Run) -> None:
    run.checkpoints.clean()
    for path in (run.folder / name for name in run.begun):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for folder in (run.checkpoints.root, run.folder):
        with suppress(OSError):  # not empty, or never made
            folder.rmdir()
