"""8-bit frames to the tensors that networks want."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.evaluation.gauges.gauge import Frames


def to_unit_images(frames: Frames, device: torch.device) -> Float[Tensor, "n 3 h w"]:
    """In [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return rearrange(pixels, "n h w c -> n c h w").float() / 255


def to_images(frames: Frames, device: torch.device) -> Float[Tensor, "n 3 h w"]:
    """In [-1, 1]."""
    return to_unit_images(frames, device) * 2 - 1
