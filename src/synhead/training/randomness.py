"""Random numbers of training as pure functions of (seed, iteration): nothing to save, nothing that depends on ranks."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

from synhead.geometry.tps import RandomWarp, draw

Stream = Literal["warp", "codes", "exposure"]


def generator_for(seed: int, stream: Stream, iteration: int) -> torch.Generator:
    """A CPU generator, independent between streams and iterations, alike on all processes and machines."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{iteration}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def warps_for(seed: int, iteration: int, rows: slice, total: int, device: torch.device) -> RandomWarp:
    """Rows of the equivariance warps of an iteration's global batch of ``total`` pairs.

    All are drawn and some kept, so that a run does not depend on how its batch is split over processes.
    """
    warp = draw(total, generator_for(seed, "warp", iteration))
    return RandomWarp(
        affine=warp.affine[rows].to(device, non_blocking=True), bend=warp.bend[rows].to(device, non_blocking=True)
    )


def exposures_for(seed: int, iteration: int, rows: slice, total: int, spread: float) -> Tensor:
    """Rows of the exposures of an iteration's warped views: gain and offset on [-1, 1], (b 2), on the CPU.

    The logarithm of the gain and the offset are normal with the standard deviation ``spread``.
    """
    noise = spread * torch.randn(total, 2, generator=generator_for(seed, "exposure", iteration))
    return torch.stack([noise[:, 0].exp(), noise[:, 1]], dim=1)[rows]
