"""Pictures of a training pass: source, driving, I_g, I_g^1, M^0..M^N as colour wheels, O^0..O^N."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from synhead.geometry.grid import displacement_px
from synhead.model.talking_head import TalkingHead
from synhead.types import Motion, TrainingPass


@torch.no_grad()
def picture(
    model: TalkingHead, source_image: Float[Tensor, "b 3 H W"], driving_image: Float[Tensor, "b 3 H W"]
) -> UInt8[Tensor, "3 h w"]:
    """One row a pair; ``model`` in eval mode. Columns: source, driving, output, low resolution, flows, occlusions."""
    result: TrainingPass = model(source_image, driving_image, driving_image)
    size = source_image.shape[-1]
    motions = [result.animation.coarse.motion, *(trace.motion for trace in result.animation.traces)]
    assert result.low_resolution is not None
    images = [source_image, driving_image, result.animation.image, result.low_resolution]
    columns = [(image.float().clamp(-1, 1) + 1) / 2 for image in images]
    columns += [_resize(flow_colours(displacement_px(motion.grid.float())), size) for motion in motions]
    columns += [_resize(_grey(motion), size) for motion in motions]
    grid = rearrange(torch.stack(columns), "columns b c h w -> c (b h) (columns w)")
    return (grid * 255).round().to(torch.uint8).cpu()


def flow_colours(displacement: Float[Tensor, "b 2 h w"], *, full_px: float = 16.0) -> Float[Tensor, "b 3 h w"]:
    """Direction as hue, length as saturation (white: no motion; ``full_px`` and more: full colour). RGB in [0, 1].

    ``displacement``: offset from the identity in pixels of the flow grid.
    """
    dx, dy = displacement.unbind(dim=1)
    hue = (torch.atan2(dy, dx) / (2 * torch.pi)) % 1.0
    saturation = (torch.hypot(dx, dy) / full_px).clamp(0, 1)
    # HSV to RGB at value 1: each channel is a shifted triangle wave of the hue.
    offsets = torch.tensor([0.0, 2 / 3, 1 / 3], device=hue.device)
    wave = ((hue[:, None] + offsets[:, None, None]) % 1.0 * 6 - 3).abs().sub(1).clamp(0, 1)
    return 1 - saturation[:, None] * (1 - wave)


def _grey(motion: Motion) -> Float[Tensor, "b 3 h w"]:
    return motion.visibility.float().expand(-1, 3, -1, -1)


def _resize(image: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c {size} {size}"]:
    return F.interpolate(image, size=(size, size), mode="nearest")
