"""Keypoint detector with Jacobians (spec B.2): one network for source and driving images."""

from __future__ import annotations

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.heatmap import expected_position
from synhead.geometry.precision import full_precision, upcast
from synhead.nn.blocks import AntialiasDownscale
from synhead.nn.hourglass import Hourglass
from synhead.nn.together import convolve_together
from synhead.types import Keypoints

_PATCH_CHANNELS = 12


class KeypointDetector(nn.Module):
    """Image (b 3 H W) in [-1, 1] to keypoints in [-1, 1] with 2 x 2 Jacobians.

    Always in full precision: keypoints are means over logits divided by 0.1, which bfloat16 would shift visibly, and
    the network is a small part of a driving frame's arithmetic (``paper`` 0.9 %, ``base`` 3.7 %, ``lite`` 8.6 %).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        count = config.keypoints.count
        self.temperature = config.keypoints.temperature
        factor = config.image_size // config.flow_size
        channels = 3
        self.downscale: nn.Module = AntialiasDownscale(channels, factor)
        if config.keypoints.detail == "patches":
            channels = _PATCH_CHANNELS
            self.downscale = nn.Conv2d(3, channels, factor, stride=factor)
        self.hourglass = Hourglass(channels, config.keypoints.hourglass)
        self.logits = nn.Conv2d(self.hourglass.out_channels, count, 7)
        self.jacobian = nn.Conv2d(self.hourglass.out_channels, 4 * count, 7)
        nn.init.zeros_(self.jacobian.weight)
        self.jacobian.bias = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 1.0]).repeat(count))

    def forward(self, image: Float[Tensor, "b 3 H W"]) -> Keypoints:
        with full_precision(image):
            features = self.hourglass(self.downscale(upcast(image)))
            logits, affine = convolve_together(features, self.logits, self.jacobian)
            flat = rearrange(logits, "b k h w -> b k (h w)") / self.temperature
            heatmap = flat.softmax(dim=-1).reshape(logits.shape)
            jacobians = rearrange(affine, "b (k i j) h w -> b k i j h w", i=2, j=2)
            jacobian = einsum(heatmap, jacobians, "b k h w, b k i j h w -> b k i j")
        return Keypoints(position=expected_position(heatmap), jacobian=jacobian)
