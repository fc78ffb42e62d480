"""What is computed for every driving frame, as one function of tensors: for compilers and for export."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from synhead.inference.prepared import CodeMemories
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, SourceFeatures


class FrameGraph(nn.Module):
    """Keypoints of driving frames and a source's tensors to pictures; keys and values of the codes are constants."""

    def __init__(self, model: TalkingHead, memories: CodeMemories) -> None:
        super().__init__()
        self.model = model
        self.memories = memories

    def forward(
        self,
        position: Float[Tensor, "b k 2"],
        jacobian: Float[Tensor, "b k 2 2"],
        source: tuple[Tensor, ...],
    ) -> Float[Tensor, "b 3 H W"]:
        """``source``: see :func:`source_tensors`."""
        thumbnail, source_position, source_jacobian, *features = source
        observed = SourceFeatures(
            image=thumbnail,  # only its batch size is read
            thumbnail=thumbnail,
            keypoints=Keypoints(position=source_position, jacobian=source_jacobian),
            features=dict(zip(self.model.config.scales, features, strict=True)),
            motion_memory=self.memories.motion,
            appearance_memory=self.memories.appearance,
        )
        return self.model.animate(observed, Keypoints(position=position, jacobian=jacobian)).image


def source_tensors(source: SourceFeatures) -> tuple[Tensor, ...]:
    """What a frame needs of a source: thumbnail, keypoints, features from coarse to fine."""
    features = [source.features[scale] for scale in sorted(source.features)]
    return (source.thumbnail, source.keypoints.position, source.keypoints.jacobian, *features)


def source_names(scales: tuple[int, ...]) -> tuple[str, ...]:
    """Names of :func:`source_tensors`."""
    return ("thumbnail", "source_position", "source_jacobian", *(f"feature_{scale}" for scale in scales))


def to_pixels(image: Float[Tensor, "b 3 H W"]) -> UInt8[Tensor, "b H W 3"]:
    """8-bit RGB, channels last (spec E): clamped, rounded half to even."""
    levels = ((image.float().clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
    return rearrange(levels, "b rgb h w -> b h w rgb")


def from_pixels(frames: UInt8[Tensor, "b H W 3"]) -> Float[Tensor, "b 3 H W"]:
    """RGB in [-1, 1] from 8-bit pictures."""
    return rearrange(frames, "b h w rgb -> b rgb h w").float() / 127.5 - 1
