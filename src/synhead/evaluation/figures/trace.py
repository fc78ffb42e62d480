"""One pass of the model over a source and a driving picture, with everything that the figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from synhead.config import CodebookConfig, ModelConfig
from synhead.evaluation.figures.sheet import Picture
from synhead.geometry.grid import displacement_px
from synhead.geometry.warp import warp
from synhead.model.appearance_compensation import AppearanceCompensation
from synhead.model.talking_head import TalkingHead
from synhead.types import NDArray, TrainingPass


@dataclass(frozen=True, slots=True)
class PairTrace:
    """A training pass in eval mode of batch 1, with what it does not keep.

    ``source_features``, ``driving_features``: F_s^i and F_d^i by scale. ``driving_tokens[scale]``: F_d^i as the
    appearance codebook sees it, before quantisation (empty without such a codebook). ``first_codes[codebook]``: the
    number of the first code that each compensated scale sees, from which the indices of the pass count.
    """

    source: Picture
    driving: Picture
    passed: TrainingPass
    source_features: Mapping[int, Float[NDArray[Any], "c s s"]]
    driving_features: Mapping[int, Float[NDArray[Any], "c s s"]]
    driving_tokens: Mapping[int, Float[NDArray[Any], "d t t"]]
    first_codes: Mapping[str, Sequence[int]]

    @property
    def scales(self) -> tuple[int, ...]:
        """Coarse to fine."""
        return tuple(step.scale for step in self.passed.animation.traces)

    def flows_px(self) -> list[Float[NDArray[Any], "2 h w"]]:
        """M^0, then M^i of every scale, as displacements in pixels of the flow grid."""
        return [one(displacement_px(grid)) for grid in self._grids()]

    def warped_sources(self) -> list[Picture]:
        """The source picture warped by M^0 and by every M^i; what lies outside it is black."""
        image = _tensor(self.source)
        return [to_picture(one(warp(image + 1, grid.float().cpu()) - 1)) for grid in self._grids()]

    def _grids(self) -> list[Float[Tensor, "1 h w 2"]]:
        animation = self.passed.animation
        return [animation.coarse.motion.grid, *(step.motion.grid for step in animation.traces)]


@torch.inference_mode()
def trace_pair(model: TalkingHead, source: Picture, driving: Picture) -> PairTrace:
    """Both pictures squares of the model's ``image_size``; the model in eval mode, in float32 on any device."""
    device = next(model.parameters()).device
    source_image, driving_image = _tensor(source).to(device), _tensor(driving).to(device)
    features = model.encoder(driving_image).driving_features()
    tokens = {}
    appearance = model.appearance_compensation
    if isinstance(appearance, AppearanceCompensation):
        for scale in appearance.scales:
            flat = appearance.projection(scale).to_tokens(features[scale])
            tokens[scale] = one(rearrange(flat, "b (h w) d -> b d h w", h=appearance.side))
    return PairTrace(
        source=source,
        driving=driving,
        passed=model(source_image, driving_image, driving_image),
        source_features={scale: one(feature) for scale, feature in model.encoder(source_image).features.items()},
        driving_features={scale: one(feature) for scale, feature in features.items()},
        driving_tokens=tokens,
        first_codes={
            "motion": _first_codes(model.config, model.config.motion),
            "appearance": _first_codes(model.config, model.config.appearance),
        },
    )


def one(tensor: Float[Tensor, "1 ..."]) -> NDArray[np.float32]:
    """The only element of a batch as an array."""
    array: NDArray[np.float32] = tensor[0].float().cpu().numpy()
    return array


def to_picture(image: Float[NDArray[Any], "3 h w"]) -> Picture:
    """Spec E: clamped to [-1, 1], rounded half to even."""
    levels = np.rint((image.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _first_codes(config: ModelConfig, codebook: CodebookConfig) -> tuple[int, ...]:
    return tuple(config.codes(codebook, scale).start for scale in config.compensated_scales(codebook.scope))


def _tensor(picture: Picture) -> Float[Tensor, "1 3 h w"]:
    pixels = torch.from_numpy(np.ascontiguousarray(picture))
    return rearrange(pixels, "h w rgb -> 1 rgb h w").float() / 127.5 - 1
