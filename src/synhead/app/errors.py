"""Expected errors become one line on standard error and exit code 2; Ctrl-C and signals 128 and their number."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec

import typer

from synhead.app.console import remark
from synhead.app.stopping import exit_code, interruption_behind, stopped_by_signals
from synhead.config import UserError

P = ParamSpec("P")

EXIT_ERROR = 2

show_traceback: ContextVar[bool] = ContextVar("show_traceback", default=False)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """``command`` with its expected errors told in one line that names a remedy; others keep their traceback.

    SIGTERM and SIGHUP stop it as Ctrl-C does, unless it arranges something of its own for them.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with stopped_by_signals():
                command(*args, **kwargs)
        except KeyboardInterrupt as interruption:
            raise _stopped(interruption) from interruption
        except Exception as error:
            stop = interruption_behind(error) if isinstance(error, OSError) else None
            if stop is not None:  # progress cannot be cleared from a terminal that was closed
                raise _stopped(stop) from error
            line = None if show_traceback.get() else explain(error)
            if line is None:
                raise
            remark(f"error: {line}", style="red")
            raise typer.Exit(EXIT_ERROR) from error

    return run


def _stopped(stop: KeyboardInterrupt) -> typer.Exit:
    remark("stopped: nothing was left half-written", style="yellow")
    return typer.Exit(exit_code(stop))


def explain(error: Exception) -> str | None:
    """One line for an expected error, None for one that is a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if type(error).__name__ == "OutOfMemoryError" or _says(error, "CUDA error: out of memory"):
        return "out of GPU memory; choose a smaller --batch, --precision bf16 or --device cpu"
    if isinstance(error, MemoryError) or _says(error, "can't allocate memory"):
        return "out of memory; choose a smaller --batch, or make the pictures smaller"
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return f"{error.name} is not installed; pip install 'synhead[{_EXTRAS[error.name]}]'"
    if isinstance(error, OSError):
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{reason}; check the path, its permissions and the free space"
    return None


def _says(error: Exception, words: str) -> bool:
    """Whether torch, or the driver through it, uses these words."""
    return isinstance(error, RuntimeError) and words in str(error)


_EXTRAS = {
    "c2pa": "provenance",
    "cryptography": "provenance",
    "fastapi": "web",
    "lightning_fabric": "train",
    "mediapipe": "faces",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "python_multipart": "web",
    "ray": "cluster",
    "skimage": "demo",
    "tensorboard": "train",
    "torchmetrics": "train",
    "uvicorn": "web",
}
