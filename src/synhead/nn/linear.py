"""Linear layers and positions for training in half precision on a GPU, where PyTorch's gradients of them are slow."""

# mypy: disable-error-code="type-arg"
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.conv import training_kernels


class _Linear(torch.autograd.Function):
    """``apply(x, weight, bias)``: the bias, whose gradient a kernel sums in float32, may be of another type."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.bias_type = bias.dtype
        return F.linear(x, weight, bias.to(weight.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from synhead.nn.fused_bias import channel_sums  # noqa: PLC0415 - Triton exists on GPU builds only

        x, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, len(weight)).contiguous()
        of_x, of_weight, of_bias = ctx.needs_input_grad
        dx = (gradient @ weight).view(x.shape) if of_x else None
        dweight = gradient.t() @ x.reshape(-1, x.shape[-1]) if of_weight else None
        return dx, dweight, channel_sums(gradient, ctx.bias_type) if of_bias else None


def linear(x: Float[Tensor, "*b c"], weight: Float[Tensor, "d c"], bias: Float[Tensor, " d"]) -> Float[Tensor, "*b d"]:
    """``F.linear``."""
    dtype = training_kernels(x)
    if dtype is None:
        return F.linear(x, weight, bias)
    out: Tensor = _Linear.apply(x.to(dtype), weight.to(dtype), bias)  # type: ignore[no-untyped-call]
    return out


class Linear(nn.Linear):
    """``torch.nn.Linear`` with a bias."""

    def forward(self, input: Float[Tensor, "*b c"]) -> Float[Tensor, "*b d"]:  # noqa: A002 - as the base's
        return linear(input, self.weight, self.bias)


class _AddPosition(torch.autograd.Function):
    """``apply(tokens, position)``, the sum in the tokens' type; the position's gradient is summed in float32."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, position: Tensor) -> Tensor:
        ctx.dtype = position.dtype
        return tokens + position.to(tokens.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        total = gradient.sum(dim=0, dtype=torch.float32).to(ctx.dtype) if ctx.needs_input_grad[1] else None
        return gradient, total


def add_position(tokens: Float[Tensor, "b n c"], position: Float[Tensor, "n c"]) -> Float[Tensor, "b n c"]:
    """``tokens + position`` in the type in which a linear layer reads it; the plain sum where no kernel applies."""
    dtype = training_kernels(tokens)
    if dtype is None:
        return tokens + position
    out: Tensor = _AddPosition.apply(tokens.to(dtype), position)  # type: ignore[no-untyped-call]
    return out
