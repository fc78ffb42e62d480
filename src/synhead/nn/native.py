"""The C kernels of the folder ``kernels``, compiled once for this machine and kept in a folder."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from synhead.config import ConfigError

VECTOR_FLOATS = 8
"""Of AVX's vectors: with narrower ones wide models lose."""

_FOLDER = Path(__file__).with_name("kernels")
_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-shared", "-fPIC")  # not -ffast-math: it changes the whole process


class ConvolutionJob(ctypes.Structure):
    """``struct convolution`` of the C code."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "residual", "y")),
        *((name, ctypes.c_int64) for name in ("items", "h", "w", "inputs", "outputs", "block", "enlarge")),
        ("slope", ctypes.c_float),
        ("next", ctypes.c_int64),
    )


class NormJob(ctypes.Structure):
    """``struct norm`` of the C code."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "y", "sums", "gains")),
        *((name, ctypes.c_int64) for name in ("items", "pixels", "channels", "groups", "parts", "swish")),
        ("epsilon", ctypes.c_float),
        ("next", ctypes.c_int64),
    )


class AttentionJob(ctypes.Structure):
    """``struct attention`` of the C code."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("query", "key", "value", "mask", "y", "packed_keys", "packed_values")),
        *((name, ctypes.c_int64) for name in ("heads", "queries", "keys", "depth")),
        *((name, ctypes.c_int64) for name in ("query_row", "key_row", "value_row")),
        *((name, ctypes.c_int64) for name in ("query_head", "key_head", "value_head")),
        ("next", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True)
class Kernels:
    """The library, the floats of one of its vectors, and those of a packed column of weights."""

    library: ctypes.CDLL
    lanes: int
    width: int

    def winograd(self, job: ConvolutionJob) -> None:
        """On as many threads as PyTorch uses."""
        self.library.winograd(ctypes.byref(job), torch.get_num_threads())

    def group_norm(self, job: NormJob) -> None:
        """On as many threads as PyTorch uses."""
        self.library.group_norm(ctypes.byref(job), torch.get_num_threads())

    def attention(self, job: AttentionJob) -> None:
        """On as many threads as PyTorch uses."""
        self.library.attention(ctypes.byref(job), torch.get_num_threads())


@cache
def load_kernels(folder: Path) -> Kernels:
    """The kernels for this CPU, from ``folder`` or compiled into it, which takes a second.

    Raises ConfigError without a C compiler, or where it fails.
    """
    path = folder / f"kernels-{_key()}.so"
    if not path.is_file():
        _compile(path)
    try:
        library = ctypes.CDLL(str(path.absolute()))
    except OSError as error:
        raise ConfigError(f"cannot load {path} ({error}); delete it, or choose the engine prepared") from error
    return Kernels(library=library, lanes=library.lanes(), width=library.width())


def shares_threads() -> bool:
    """Whether the kernels run on all threads that PyTorch uses: they borrow those of GNU's OpenMP."""
    return torch.get_num_threads() == 1 or hasattr(ctypes.CDLL(None), "GOMP_parallel")


def _compile(path: Path) -> None:
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise ConfigError("the native engine needs a C compiler: install gcc or clang, or choose the engine prepared")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        command = [compiler, *_FLAGS, "-o", str(written), *map(str, sorted(_FOLDER.glob("*.c"))), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip()[:300]
            raise ConfigError(f"{compiler} cannot compile the native kernels; choose the engine prepared ({reason})")
        written.replace(path)  # at once: another process may be about to load it


def _key() -> str:
    """Of the code and of the CPU that it is compiled for: another machine may share the folder."""
    text = "\n".join([*_FLAGS, platform.system(), platform.machine(), _cpu()])
    code = b"".join(path.read_bytes() for path in sorted(_FOLDER.glob("*.[ch]")))
    return hashlib.sha256(code + text.encode()).hexdigest()[:16]


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
