"""Footage of our own making for the demo: a public-domain portrait, and a driver rendered from its mirror image.

The portrait is NASA's photograph of Eileen Collins, which scikit-image ships. The driver is that photograph, mirrored
and tinted, whose head we turn, tilt and nod and whose mouth and eyes we open and close by warping its pixels: a few
sine waves, no recording of anyone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import astronaut
from torch import Tensor
from torch.nn.functional import grid_sample

Image = NDArray[np.uint8]

SIZE = 256
FACE = (slice(8, 208), slice(124, 324))  # the face's square in the 512 x 512 photograph: rows, columns

# Landmarks of the mirrored crop in [-1, 1] (x, y).
EYES = ((-0.24, -0.05), (0.21, -0.07))
NOSE = (-0.01, 0.14)
MOUTH = (0.00, 0.40)
NECK = (0.0, 0.75)


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Head and face at one moment; all zero at rest. Angles in radians, the rest in units of the [-1, 1] frame."""

    roll: float
    yaw: float
    nod: float
    mouth: float
    blink: float


def portrait() -> Image:
    """The demo's source: the face's square of the photograph (200 200 3)."""
    photograph: Image = astronaut()
    return np.ascontiguousarray(photograph[FACE])


def pose_at(seconds: float) -> Pose:
    """Two and a half sine waves of head motion, syllables in the middle, a blink each second; at rest at 0 s."""
    turn = 2 * math.pi * seconds
    syllables = max(0.0, math.sin(2.1 * turn)) * min(1.0, seconds)
    blink = sum(math.exp(-(((seconds - at) / 0.07) ** 2)) for at in (0.8, 1.7, 2.6))
    return Pose(
        roll=0.14 * math.sin(turn / 2.4),
        yaw=0.16 * math.sin(turn / 1.6),
        nod=0.07 * math.sin(turn / 1.2),
        mouth=0.16 * syllables,
        blink=min(1.0, blink),
    )


def driver_frames(count: int, rate: float) -> Iterator[Image]:
    """``count`` frames (256 256 3) of the moving head at ``rate`` frames a second."""
    mirrored = torch.from_numpy(portrait()[:, ::-1].copy()).permute(2, 0, 1).float()[None] / 255
    tint = torch.tensor([1.0, 0.94, 0.84]).view(1, 3, 1, 1)
    cavity = torch.tensor([0.22, 0.06, 0.06]).view(1, 3, 1, 1)
    axis = torch.linspace(-1, 1, SIZE)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    for index in range(count):
        x, y, shadow = _where_from(columns, rows, pose_at(index / rate))
        grid = torch.stack([x, y], dim=-1)[None]
        image = grid_sample(mirrored * tint, grid, mode="bicubic", padding_mode="reflection", align_corners=True)
        image = (image * (1 - shadow) + cavity * shadow).clamp(0, 1)[0].permute(1, 2, 0)
        yield (image * 255).round().to(torch.uint8).numpy()


def _bump(x: Tensor, y: Tensor, centre: tuple[float, float], spread: tuple[float, float]) -> Tensor:
    return torch.exp(-(((x - centre[0]) / spread[0]) ** 2) - (((y - centre[1]) / spread[1]) ** 2))


def _where_from(x: Tensor, y: Tensor, pose: Pose) -> tuple[Tensor, Tensor, Tensor]:
    """Backward warp: the position in the still picture that each pixel shows, and the darkness of the open mouth."""
    head = torch.sigmoid((NECK[1] - y) / 0.12)  # 1 on the head, 0 on the shoulders
    angle = pose.roll * head
    dx, dy = x - NECK[0], y - NECK[1]
    x, y = NECK[0] + dx * angle.cos() + dy * angle.sin(), NECK[1] - dx * angle.sin() + dy * angle.cos()
    near = _bump(x, y, NOSE, (0.55, 0.7))  # what is nearer to the camera moves further
    x, y = x - pose.yaw * near, y - pose.nod * near

    across = (x - MOUTH[0]) / 0.19
    jaw = pose.mouth * torch.exp(-(across**2) / 2.5)
    below = y - MOUTH[1]
    lip = pose.mouth * (1 - across**2).clamp(min=0).sqrt()  # lower edge of the opening, an ellipse
    gap = torch.sigmoid((below - 0.005) / 0.006) * torch.sigmoid((lip - below) / 0.006) * (lip / 0.02).clamp(max=1)
    fall = torch.exp(-((below.clamp(min=0) / 0.6) ** 2))
    y = torch.where(below > 0, torch.maximum(y - jaw * fall, torch.full_like(y, MOUTH[1])), y)

    for eye in EYES:
        y = y + (y - eye[1]) * 2.2 * pose.blink * _bump(x, y, eye, (0.13, 0.05))
    return x, y, gap
