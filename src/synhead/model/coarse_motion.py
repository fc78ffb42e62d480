"""Dense motion network (spec B.3): M^0, O^0 and the driving heat maps F_kp^d from two sets of keypoints."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.heatmap import gaussian_heatmaps, sparse_motions
from synhead.geometry.precision import full_precision, upcast
from synhead.geometry.warp import sample
from synhead.nn.blocks import AntialiasDownscale
from synhead.nn.hourglass import Hourglass
from synhead.nn.together import convolve_together
from synhead.types import CoarseMotion, Keypoints, Motion


class CoarseMotionNetwork(nn.Module):
    """Mixes the local affine motions of the keypoints (first-order model) into one flow with an occlusion map."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        count = config.keypoints.count
        self.size = config.flow_size
        self.variance = config.coarse_motion.heatmap_variance
        self.downscale = AntialiasDownscale(3, config.image_size // config.flow_size)
        self.hourglass = Hourglass(4 * (count + 1), config.coarse_motion.hourglass)
        self.mask = nn.Conv2d(self.hourglass.out_channels, count + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_channels, 1, 7, padding=3)

    def forward(self, thumbnail: Float[Tensor, "b 3 h w"], source: Keypoints, driving: Keypoints) -> CoarseMotion:
        """``thumbnail``: the source image through ``self.downscale``."""
        with full_precision(thumbnail):
            heatmaps = gaussian_heatmaps(driving.position, self.size, self.variance)
            difference = heatmaps - gaussian_heatmaps(source.position, self.size, self.variance)
            motions = sparse_motions(source, driving, self.size)
            deformed = self._deform(upcast(thumbnail), motions)
        background = torch.zeros_like(difference[:, :1])
        heat = torch.cat([background, difference], dim=1)
        evidence = rearrange(torch.cat([heat[:, :, None], deformed], dim=2), "b k c h w -> b (k c) h w")
        features = self.hourglass(evidence)
        with full_precision(thumbnail):
            logits, occlusion_logits = convolve_together(upcast(features), self.mask, self.occlusion)
            masks = logits.softmax(dim=1)
            grid = (masks[..., None] * motions).sum(dim=1)  # as a matrix product it would be 4,096 tiny ones an item
            visibility = torch.sigmoid(occlusion_logits)
        return CoarseMotion(motion=Motion(grid=grid, visibility=visibility), masks=masks, heatmaps=heatmaps)

    def _deform(
        self, thumbnail: Float[Tensor, "b 3 h w"], motions: Float[Tensor, "b k h w 2"]
    ) -> Float[Tensor, "b k 3 h w"]:
        # align_corners=False on grids made for True: the published code's mismatch, kept (spec B.3 step 4).
        count = motions.shape[1]
        copies = repeat(thumbnail, "b c h w -> (b k) c h w", k=count)
        deformed = sample(copies, rearrange(motions, "b k h w xy -> (b k) h w xy"), align_corners=False)
        return rearrange(deformed, "(b k) c h w -> b k c h w", k=count)
