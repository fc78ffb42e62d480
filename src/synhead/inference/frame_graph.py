"""What is computed for every driving frame, as one function of tensors: for compilers and for export."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from synhead.config import ModelConfig
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
        given = dict(zip(source_names(self.model.config), source, strict=True))
        thumbnail = given["thumbnail"]
        observed = SourceFeatures(
            image=given.get("picture", thumbnail),  # only its batch size is read where nothing is blended
            thumbnail=thumbnail,
            keypoints=Keypoints(position=given["source_position"], jacobian=given["source_jacobian"]),
            features={scale: given[f"feature_{scale}"] for scale in self.model.config.scales},
            motion_memory=self.memories.motion,
            appearance_memory=self.memories.appearance,
        )
        return self.model.animate(observed, Keypoints(position=position, jacobian=jacobian)).image


def source_tensors(source: SourceFeatures, config: ModelConfig) -> tuple[Tensor, ...]:
    """What a frame needs of a source: thumbnail, keypoints, features from coarse to fine, the picture to blend."""
    features = [source.features[scale] for scale in config.scales]
    picture = [source.image] if config.blend else []
    return (source.thumbnail, source.keypoints.position, source.keypoints.jacobian, *features, *picture)


def source_names(config: ModelConfig) -> tuple[str, ...]:
    """Names of :func:`source_tensors`."""
    features = [f"feature_{scale}" for scale in config.scales]
    picture = ["picture"] if config.blend else []
    return ("thumbnail", "source_position", "source_jacobian", *features, *picture)


def to_pixels(image: Float[Tensor, "b 3 H W"]) -> UInt8[Tensor, "b H W 3"]:
    """8-bit RGB, channels last (spec E): clamped, rounded half to even."""
    levels = ((image.float().clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
    return rearrange(levels, "b rgb h w -> b h w rgb")


def from_pixels(frames: UInt8[Tensor, "b H W 3"]) -> Float[Tensor, "b 3 H W"]:
    """RGB in [-1, 1] from 8-bit pictures."""
    return rearrange(frames, "b h w rgb -> b rgb h w").float() / 127.5 - 1
