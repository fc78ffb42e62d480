"""Whether Triton's kernels can run: PyTorch's GPU builds for Linux bring it, but not the C compiler that it calls."""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib.util import find_spec

import torch


@cache
def has_triton() -> bool:
    """Triton, and a C compiler (gcc or clang, or what CC names) for the stubs that launch its kernels."""
    compilers = (os.environ.get("CC"), "gcc", "clang")
    return find_spec("triton") is not None and any(name and shutil.which(name) for name in compilers)


def takes_kernels(device: torch.device) -> bool:
    """Whether tensors of ``device`` may go through the kernels now: not while a compiler traces."""
    return device.type == "cuda" and not torch.compiler.is_compiling() and has_triton()


def rectifies(device: torch.device) -> bool:
    """Whether cuDNN is there, whose kernel adds bias and ReLU to a convolution: not in builds for AMD's GPUs."""
    return device.type == "cuda" and torch.version.hip is None and torch.backends.cudnn.is_available()
