"""What is measured: the model, and the two things it must beat. All take uint8 RGB pictures and give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from synhead.evaluation.trials import Trial
from synhead.geometry.warp import warp
from synhead.inference.lids import move_lids
from synhead.inference.motion_transfer import movement_scale, transfer_motion
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, NDArray, SourceFeatures
from synhead.weights.errors import CheckpointError

Picture = UInt8[NDArray[np.uint8], "h w 3"]
Frames = UInt8[NDArray[np.uint8], "n h w 3"]
Render = Callable[[Picture, Frames], Frames]
"""(source, driving frames) -> one picture a driving frame, of the source's size."""


def copy_source(source: Picture, driving: Frames) -> Frames:
    """The source again and again: what an unmoved picture scores."""
    return np.repeat(source[None], len(driving), axis=0)


@dataclass(frozen=True, slots=True)
class ModelRenderer:
    """The model in eval mode, on the device of its weights, ``batch`` frames at a time.

    Raises CheckpointError when it makes pictures that are no numbers.
    """

    model: TalkingHead
    batch: int = 8
    precision: torch.dtype = torch.float32

    def __call__(self, source: Picture, driving: Frames) -> Frames:
        """See Render: with absolute keypoints. The pictures must be of the model's ``image_size``."""
        return self.render(source, driving)

    def trial(self, trial: Trial) -> Frames:
        """Absolute within an identity; across identities relative to the trial's reference frame, sizes adapted."""
        return self.render(trial.source, trial.driving, trial.reference)

    def render(self, source: Picture, driving: Frames, reference: Picture | None = None) -> Frames:
        """See Render. ``reference``: move as the driver moves away from this frame of it."""
        device = next(self.model.parameters()).device
        autocast = torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32)
        rendered = []
        with torch.inference_mode():  # what depends on coordinates in float32 at any precision, as the engines do
            observed = self.model.observe(_to_image(source[None], device))
            origin = None if reference is None else self.model.keypoint_detector(_to_image(reference[None], device))
            scale = 1.0 if origin is None else movement_scale(observed.keypoints, origin)
            for start in range(0, len(driving), self.batch):
                frames = _to_image(driving[start : start + self.batch], device)
                keypoints = self.model.keypoint_detector(frames)
                if origin is not None:
                    keypoints = transfer_motion(observed.keypoints, keypoints, origin, scale=scale)
                keypoints = move_lids(keypoints, observed.keypoints, self.model.config.lid_gain)
                with autocast:
                    rendered.append(_to_frames(self.picture(observed, keypoints)))
        return np.concatenate(rendered)

    def picture(self, source: SourceFeatures, driving: Keypoints) -> Float[Tensor, "b 3 H W"]:
        """What is measured: I_g."""
        return self.model.animate(source, driving).image


@dataclass(frozen=True, slots=True)
class CoarseWarpRenderer(ModelRenderer):
    """The source picture warped by M^0 alone: what the first-order motion scores without any generator."""

    def picture(self, source: SourceFeatures, driving: Keypoints) -> Float[Tensor, "b 3 H W"]:
        """The source, sampled at the coarse flow resized to it."""
        source = source.expand(len(driving.position))
        grid = self.model.coarse_motion(source.thumbnail, source.keypoints, driving).motion.grid
        # shifted so that what lies outside is black, not grey: warping fills with zeros
        return warp(source.image.float() + 1, grid.float()) - 1


def _to_image(frames: Frames, device: torch.device) -> Float[Tensor, "n 3 h w"]:
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return rearrange(pixels, "n h w c -> n c h w").float() / 127.5 - 1


def _to_frames(image: Float[Tensor, "n 3 h w"]) -> Frames:
    """Spec E: clamped to [-1, 1], rounded half to even. Raises CheckpointError for what is no number, which would
    become a level like any other.
    """
    if not image.isfinite().all():
        raise CheckpointError("the model's pictures are no numbers: measure in fp32, or give other weights")
    levels = ((image.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(rearrange(levels, "n c h w -> n h w c").cpu().numpy())
