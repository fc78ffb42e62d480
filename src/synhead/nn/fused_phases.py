"""Nearest x2 and a 3 x 3 convolution by phases, with gradients: 16 multiplications for 36, no enlarged picture."""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from synhead.nn.fused_bias import channel_sums
from synhead.nn.phases import phase_kernels
from synhead.nn.triton_kernels import join_phases

_TILE = 4096


@triton.jit
def _split_kernel(gradient, out, height, width, channels, R: tl.constexpr, C: tl.constexpr):
    """The phases' gradients (h+1 w+1 4c): each value of the enlarged picture is one phase's, the rest is zero."""
    item = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * R + tl.arange(0, R)  # of a pixel and a phase
    mask = place < 4 * (height + 1) * (width + 1)
    phase, pixel = place % 4, place // 4
    down, right = phase // 2, phase % 2
    y, x = pixel // (width + 1) - down, pixel % (width + 1) - right
    real = mask & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    column = tl.arange(0, C)
    inside = (column < channels)[None, :]
    source = (item * 2 * height + 2 * y + down) * 2 * width + 2 * x + right
    value = tl.load(gradient + source[:, None] * channels + column[None, :], mask=real[:, None] & inside, other=0.0)
    target = (item * 4 * (height + 1) * (width + 1) + place)[:, None] * channels + column[None, :]
    tl.store(out + target, value, mask=mask[:, None] & inside)


class JoinPhases(torch.autograd.Function):
    """``apply(phases, bias)``: phases (b 4c h+1 w+1), channels last, in their places (b c 2h 2w), plus the bias (c)."""

    @staticmethod
    def forward(ctx: Any, phases: Tensor, bias: Tensor) -> Tensor:
        rows = phases.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        ctx.shape, ctx.bias_type = phases.shape, bias.dtype
        return join_phases(rows, bias.detach()).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        batch, wide, height, width = ctx.shape
        channels = wide // 4
        out = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        )  # fmt: skip
        c = triton.next_power_of_2(channels)
        r = max(1, _TILE // c)
        _split_kernel[(batch, triton.cdiv(4 * height * width, r))](
            gradient, out, height - 1, width - 1, channels, R=r, C=c
        )
        return out, channel_sums(gradient, ctx.bias_type)


def upsample(
    x: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Float[Tensor, " d"]
) -> Float[Tensor, "b d h2 w2"]:
    """``conv2d(nearest x2 of x, weight, bias)``; half precision by autocast or by the types of x and weight."""
    out: Tensor = JoinPhases.apply(F.conv2d(x, phase_kernels(weight), None, padding=1), bias)
    return out
