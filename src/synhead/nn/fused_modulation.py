"""Feature modulation with gradients as Triton kernels: half precision, by pixel, one pass each way.

PyTorch makes a pass of each of its products and sums, forward and backward, and two more for the biases. Here backward
reads the gradient, x and scale once, and sums the biases' gradients beside; the sums go through partials, not atomics.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from synhead.nn.fused_bias import column_sums, row_parts
from synhead.nn.triton_kernels import modulate


@triton.jit
def _gradient_kernel(
    gradient,
    x,
    scale,
    scale_bias,
    dx,
    dscale,
    dshift,
    parts,
    rows,
    width,
    part,
    weight,
    SHIFT: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Gradients of x, scale and, if SHIFT, shift; and a part's sums over rows of those of scale and shift."""
    column = tl.arange(0, C)
    inside = column < width
    bias = tl.load(scale_bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    first, second = tl.zeros((R, C), tl.float32), tl.zeros((R, C), tl.float32)
    begin = tl.program_id(0) * part
    for start in range(0, part, R):
        row = begin + start + tl.arange(0, R)
        mask = (row < tl.minimum(begin + part, rows))[:, None] & inside[None, :]
        place = row.to(tl.int64)[:, None] * width + column[None, :]
        value = tl.load(gradient + place, mask=mask, other=0.0).to(tl.float32)
        weighed = value * weight
        product = weighed * tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        factor = tl.load(scale + place, mask=mask, other=0.0).to(tl.float32) + bias
        tl.store(dx + place, (value + weighed * factor).to(dx.dtype.element_ty), mask=mask)
        tl.store(dscale + place, product.to(dscale.dtype.element_ty), mask=mask)
        if SHIFT:
            tl.store(dshift + place, weighed.to(dshift.dtype.element_ty), mask=mask)
        first += product
        second += weighed
    base = parts + tl.program_id(0) * 2 * width
    tl.store(base + column, tl.sum(first, axis=0), mask=inside)
    tl.store(base + width + column, tl.sum(second, axis=0), mask=inside)


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1)


class FusedModulation(torch.autograd.Function):
    """``apply(x, scale, shift, extra, biases, weight)``, x + weight * (x * (scale + a) + shift + b) + extra.

    a, b = biases (2 c). All (b c h w) of one type, channels last; ``extra`` may be None. The result is over shift.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, extra: Tensor | None, biases: Tensor, weight: float
    ) -> Tensor:
        fixed = biases.detach()
        other = None if extra is None else _rows(extra)
        modulate(_rows(x), (_rows(scale), fixed[0]), (_rows(shift), fixed[1]), weight, other)
        ctx.mark_dirty(shift)
        ctx.save_for_backward(x, scale, biases)
        ctx.weight, ctx.extra = weight, extra is not None
        return shift

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, biases = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        width = x.shape[1]
        rows = x.numel() // width
        r, c, part = row_parts(rows, width)
        count = triton.cdiv(rows, part)
        parts = torch.empty(count, 2, width, dtype=torch.float32, device=x.device)
        dx, dscale = torch.empty_like(x), torch.empty_like(scale)
        weighed = ctx.weight != 1.0
        dshift = torch.empty_like(x) if weighed else gradient  # nobody writes over a gradient
        _gradient_kernel[(count,)](
            gradient, x, scale, biases, dx, dscale, dshift, parts, rows, width, part, float(ctx.weight),
            SHIFT=weighed, R=r, C=c,
        )  # fmt: skip
        return dx, dscale, dshift, gradient if ctx.extra else None, column_sums(parts, biases.dtype), None


def modulated(
    x: Float[Tensor, "b c h w"],
    convolved: tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"], Float[Tensor, "b c h w"] | None],
    biases: Float[Tensor, "2 c"],
    weight: float,
) -> Float[Tensor, "b c h w"]:
    """SFT, see FusedModulation, in the type of ``convolved``: scale, shift and extra, which nothing else may need."""
    scale, shift, extra = convolved
    x, scale, shift = _as(x, shift), _as(scale, shift), _as(shift, shift)
    extra = None if extra is None else _as(extra, shift)
    out: Tensor = FusedModulation.apply(x, scale, shift, extra, biases, weight)
    return out


def _as(x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype).contiguous(memory_format=torch.channels_last)
