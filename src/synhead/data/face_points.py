"""Landmarks of every frame of a set, found beforehand and kept in one small file; an option of ours for training.

``NAME.npz`` holds one array a clip, frames x points x 2, as 16-bit shares of the picture's side from its left and top
edge; 0 where no face was found. Points are those of :class:`~synhead.types.FacePoint`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt16
from torch import Tensor

from synhead.data.files import replacing
from synhead.data.records import DataError
from synhead.data.store import FrameStore
from synhead.types import FacePoint, NDArray


def _other_side(name: str) -> str:
    """The name that a point has in a mirrored picture."""
    swaps = {"LEFT": "RIGHT", "RIGHT": "LEFT"}
    return "_".join(swaps.get(word, word) for word in name.split("_"))


MESH = (13, 14, 61, 291, 159, 145, 386, 374, 33, 263, 1, 152)
"""Number of each :class:`~synhead.types.FacePoint` in the face mesh of 478 points."""
_MIRROR = [FacePoint[_other_side(point.name)] for point in FacePoint]
_FULL = 65535


def save_points(points: Mapping[str, Float[NDArray[Any], "_ points 2"]], path: Path) -> None:
    """``points``: by clip, as shares of the side, NaN where there is no face."""
    stored: dict[str, Any] = {}
    for name, found in points.items():
        stored[name] = np.nan_to_num(np.clip(found, 1 / _FULL, 1) * _FULL).round().astype(np.uint16)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **stored)


def load_points(path: Path, store: FrameStore) -> Float[Tensor, "n points 2"]:
    """Points of every frame of ``store`` in [-1, 1] from edge to edge, NaN where unknown; on the store's device.

    Raises:
        DataError: the file cannot be read, or lacks a clip, or has another number of frames of it.
    """
    parts: list[UInt16[NDArray[np.uint16], "f points 2"]] = []
    try:
        with np.load(path) as stored:
            for name, frames in zip(store.table.names, store.lengths, strict=True):
                part = stored[name]
                if part.shape != (frames, len(FacePoint), 2):
                    raise DataError(f"{path}: clip {name} has shape {part.shape}; find the landmarks of this set again")
                parts.append(part)
    except KeyError as error:
        raise DataError(f"{path}: no landmarks of a clip ({error}); find the landmarks of this set again") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no file of landmarks ({error}); make one with benchmarks/landmarks.py") from error
    found = torch.from_numpy(np.concatenate(parts).astype(np.float32) / _FULL)
    found = torch.where((found == 0).any(-1, keepdim=True), torch.nan, 2 * found - 1)
    return found.to(store.frames.device)


def move_points(
    points: Float[Tensor, "n points 2"], flip: Bool[Tensor, " n"], crop: Float[Tensor, "n 2 3"] | None
) -> Float[Tensor, "n points 2"]:
    """Where the points are after :func:`~synhead.data.augment.augment`: mirror (left and right change names), crop."""
    mirrored = points[:, _MIRROR] * points.new_tensor([-1.0, 1.0])
    points = torch.where(flip[:, None, None], mirrored, points)
    if crop is None:
        return points
    # crop maps output to input positions: x = A y + t; A is a rotation times a scale, so A^-1 = A^T / det A
    offset = points - crop[:, None, :, 2]
    matrix = crop[:, :, :2]
    scale = torch.linalg.det(matrix)[:, None, None]
    return (offset[..., None] * matrix[:, None]).sum(-2) / scale
