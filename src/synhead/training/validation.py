"""Validation inside the loop: PSNR and L1 of the averaged weights on fixed pairs, summed on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from synhead.config import ConfigError
from synhead.model.talking_head import TalkingHead
from synhead.training.distributed import sum_over_processes

ImagePair = tuple[Float[Tensor, "#b 3 H W"], Float[Tensor, "b 3 H W"]]
ValidationPairs = Callable[[], Iterable[ImagePair]]


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """Means over pairs. ``psnr``: dB on 8-bit images, of each pair, then averaged; ``l1``: of values in [0, 1]."""

    psnr: float
    l1: float
    pairs: int


@torch.no_grad()
def validate(fabric: Fabric, model: TalkingHead, pairs: Iterable[ImagePair]) -> ValidationReport:
    """``pairs``: this process's share of (source, driving) batches in [-1, 1], a source of batch 1 serving all its
    driving frames; ``model`` in eval mode.

    Raises ConfigError when there is no pair on any process.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=fabric.device)
    for source_image, driving_image in pairs:
        with fabric.autocast():
            generated = model.animate(model.observe(source_image), model.keypoint_detector(driving_image)).image
        sums += _pair_sums(_eight_bit(generated), _eight_bit(driving_image))
    psnr, l1, count = sum_over_processes(fabric, sums).tolist()
    if not count:
        raise ConfigError("validation has no pairs: name held-out clips with --val, or --set training.every.validate=0")
    return ValidationReport(psnr=psnr / count, l1=l1 / count, pairs=int(count))


def _eight_bit(image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """To 0..255, rounded half to even as when written to a file (spec E)."""
    return ((image.float().clamp(-1, 1) + 1) * 127.5).round()


def _pair_sums(generated: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " sums"]:
    error = (generated - target).flatten(1).double()
    mean_square = error.square().mean(dim=1).clamp_min(1e-10)
    psnr = 10 * torch.log10(255.0**2 / mean_square)
    count = torch.tensor(float(len(error)), device=error.device, dtype=torch.float64)
    return torch.stack([psnr.sum(), (error.abs().mean(dim=1) / 255).sum(), count])
