"""All weights of a pass in half precision by one conversion, and their gradients back by one.

Autocast converts each weight where it is used, and its gradient where it comes out: 700 small kernels a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from synhead.model.motion_compensation import FlowRefiner
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import MultiHeadAttention
from synhead.nn.blocks import Upsample
from synhead.nn.conv import Conv2d


class _Halves(torch.autograd.Function):
    """``apply(dtype, *weights)``: each in that type, of the same layout."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *weights: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401 - as the base
        ctx.dtypes = [weight.dtype for weight in weights]
        ctx.set_materialize_grads(False)
        halves = [torch.empty_like(weight, dtype=dtype) for weight in weights]
        torch._foreach_copy_(halves, list(weights))
        return tuple(halves)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        there = [i for i, gradient in enumerate(gradients) if gradient is not None]
        given = [gradient for gradient in gradients if gradient is not None]
        wide = [torch.empty_like(half, dtype=ctx.dtypes[i]) for i, half in zip(there, given, strict=True)]
        torch._foreach_copy_(wide, given)
        out: list[Tensor | None] = [None] * len(gradients)
        for i, gradient in zip(there, wide, strict=True):
            out[i] = gradient
        return None, *out


class HalfWeights(nn.Module):
    """A model that sees the weights of its convolutions and linear layers in autocast's type where autocast is on.

    Those of the keypoint detector stay, which is outside autocast, and those of which layers first take parts, sums or
    several together, so that rounding comes after. Gradients reach the model's
    own parameters, all at the end of the backward pass, so that data parallelism around it could not overlap with it.
    """

    def __init__(self, model: TalkingHead) -> None:
        super().__init__()
        self.model = model
        exact: list[nn.Module | None] = [model.keypoint_detector, model.decoder.head, model.decoder.mask]
        exact += [part for part in model.modules() if isinstance(part, (Upsample, MultiHeadAttention, FlowRefiner))]
        kept = {id(parameter) for part in exact if part is not None for parameter in part.parameters()}
        self._names = tuple(
            f"{name}.weight"
            for name, module in model.named_modules()
            if isinstance(module, (Conv2d, nn.Linear)) and id(module.weight) not in kept
        )

    def forward(self, *given: object, **named: object) -> object:
        """What the model returns."""
        kind = next(self.model.parameters()).device.type
        if not torch.is_autocast_enabled(kind):
            return self.model(*given, **named)
        weights = [self.model.get_parameter(name) for name in self._names]
        halves = _Halves.apply(torch.get_autocast_dtype(kind), *weights)  # type: ignore[no-untyped-call]
        return functional_call(self.model, dict(zip(self._names, halves, strict=True)), given, named)
