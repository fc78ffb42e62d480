"""Compilation by region: blocks that repeat, each shape once, instead of the whole model as one graph.

The whole training forward is thousands of operations: more than 200 s of compilation on 16 cores. Blocks of one class
share their code, so that every further block of the same shape takes what the first has compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import FeatureDistance
from synhead.model.autoencoder import FeatureModulation
from synhead.model.coarse_motion import CoarseMotionNetwork
from synhead.model.discriminator import Discriminator
from synhead.model.keypoints import KeypointDetector
from synhead.model.motion_compensation import MotionDecoder, MotionEncoder, MotionQuery
from synhead.nn.attention import RetrievalLayer
from synhead.nn.blocks import AttentionBlock, Downsample, ResBlock, Upsample
from synhead.training.config import CompileMode
from synhead.training.state import TrainingState

_REGIONS = (
    AttentionBlock,
    CoarseMotionNetwork,
    Discriminator,
    Downsample,
    FeatureDistance,
    FeatureModulation,
    KeypointDetector,
    MotionDecoder,
    MotionEncoder,
    MotionQuery,
    ResBlock,
    RetrievalLayer,
    Upsample,
)
_BY_HAND = (
    AttentionBlock,
    Downsample,
    FeatureDistance,
    FeatureModulation,
    MotionDecoder,
    MotionEncoder,
    ResBlock,
    Upsample,
)
"""Regions whose passes the Triton kernels with gradients have already joined: left as they are where those apply."""
_SHAPES = 64
"""Variants of one class's forward: sizes of feature maps and batches, and whether gradients are wanted."""


def compile_regions(
    state: TrainingState, objective: GeneratorObjective, mode: CompileMode, *, kernels: bool = False
) -> None:
    """Compile the blocks in place; parameters, names and state dicts stay as they are.

    ``kernels``: whether the Triton kernels with gradients are at work; what they do is not compiled.
    """
    limit = "recompile_limit" if hasattr(torch._dynamo.config, "recompile_limit") else "cache_size_limit"
    setattr(torch._dynamo.config, limit, max(_SHAPES, getattr(torch._dynamo.config, limit)))
    for module in (state.model, state.discriminator, objective):
        for region in regions(module, kernels=kernels):
            # The method, not the module: what is compiled is kept with the code of the class's forward.
            forward: Any = torch.compile(region.forward, mode=None if mode == "default" else mode, dynamic=False)
            region.forward = forward


def regions(module: nn.Module, *, kernels: bool = False) -> Iterator[nn.Module]:
    """The outermost modules of ``module`` that are regions; with ``kernels``, but for those made by hand."""
    if isinstance(module, _REGIONS):
        if not (kernels and isinstance(module, _BY_HAND)):
            yield module
        return
    for child in module.children():
        yield from regions(child, kernels=kernels)
