"""Exponential moving average of a model, kept as a second model in eval mode that can be used at any time."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from synhead.model.talking_head import TalkingHead
from synhead.training.config import EmaConfig


class ModelEma:
    """``model`` holds decay * ema + (1 - decay) * current, initialised as a copy (spec D).

    In scope ``generator`` the motion estimator and its batch-norm buffers follow the current weights exactly, as in the
    published checkpoints; in scope ``all`` its parameters and floating-point buffers are averaged too.
    """

    def __init__(self, source: TalkingHead, config: EmaConfig) -> None:
        self.config = config
        self.model: TalkingHead = copy.deepcopy(source).eval().requires_grad_(requires_grad=False)
        averaged = {id(p) for p in source.generator_parameters()}
        if config.scope == "all":
            averaged |= {id(p) for p in source.motion_estimator_parameters()}
            averaged |= {id(b) for b in source.buffers() if b.is_floating_point()}
        pairs = list(zip(_tensors(self.model), _tensors(source), strict=True))
        self._averaged = [(e, s) for e, s in pairs if id(s) in averaged]
        self._copied = [(e, s) for e, s in pairs if id(s) not in averaged]

    @torch.no_grad()
    def update(self) -> None:
        """One step towards the current weights: two fused passes, no synchronisation."""
        if self._averaged:
            ema, current = zip(*self._averaged, strict=True)
            torch._foreach_lerp_(list(ema), list(current), 1.0 - self.config.decay)
        if self._copied:
            ema, current = zip(*self._copied, strict=True)
            torch._foreach_copy_(list(ema), list(current))


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    """Parameters and buffers in a fixed order, shared ones once."""
    yield from module.parameters()
    yield from module.buffers()
