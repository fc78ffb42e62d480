"""Group norm with an optional swish as Triton kernels: half precision, channels last, two reads and one write.

PyTorch's own group norm is NCHW and, under autocast, float32: around every norm it converts layouts and doubles the
bytes. Here x is seen as (batch, pixels, channels); statistics are float32; ``z = x * gain[n, c] + offset[n, c]``.
Backward recomputes z from x, so that only x is kept. Sums go through partials, not atomics: results are repeatable.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["Affine", "FusedGroupNorm", "NormPlan"]

_TILE = 4096
_ROWS_PER_PART = 512
_PROGRAMS = 264  # that keep a large GPU busy, where there are pixels enough


@triton.jit
def _partials_kernel(
    x,
    dz_or_x,
    gain,
    offset,
    parts,
    pixels,
    channels,
    rows,
    PART: tl.constexpr,
    SWISH: tl.constexpr,
    BACKWARD: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Per (item, part) and channel: sums of x and x^2 (forward) or of dz and dz * x (backward)."""
    item, part = tl.program_id(0), tl.program_id(1)
    column = tl.arange(0, C)
    inside = column < channels
    first, second = tl.zeros((R, C), tl.float32), tl.zeros((R, C), tl.float32)
    if BACKWARD:
        a = tl.load(gain + item * channels + column, mask=inside, other=0.0)
        b = tl.load(offset + item * channels + column, mask=inside, other=0.0)
    for start in range(0, PART, R):
        row = part * PART + start + tl.arange(0, R)
        mask = (row < rows)[:, None] & inside[None, :]
        place = (item.to(tl.int64) * pixels + row)[:, None] * channels + column[None, :]
        value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
        if BACKWARD:
            grad = tl.load(dz_or_x + place, mask=mask, other=0.0).to(tl.float32)
            if SWISH:
                z = value * a[None, :] + b[None, :]
                s = tl.sigmoid(z)
                grad = grad * s * (1 + z * (1 - s))
            first += grad
            second += grad * value
        else:
            first += value
            second += value * value
    base = parts + ((item * tl.num_programs(1) + part) * 2) * channels
    tl.store(base + column, tl.sum(first, axis=0), mask=inside)
    tl.store(base + channels + column, tl.sum(second, axis=0), mask=inside)


@triton.jit
def _statistics_kernel(
    parts,
    before,
    weight,
    bias,
    gain,
    offset,
    mean_out,
    rstd_out,
    count,
    channels,
    size,
    pixels,
    total,
    eps,
    BEFORE: tl.constexpr,
    P: tl.constexpr,
    G: tl.constexpr,
):
    """Per (item, group): mean and 1/std of x + before from x's partial sums, and gain and offset of its channels."""
    item, group = tl.program_id(0), tl.program_id(1)
    member = tl.arange(0, G)
    inside = member < size
    column = group * size + member
    part = tl.arange(0, P)
    place = parts + ((item * count + part)[:, None] * 2) * channels + column[None, :]
    mask = (part < count)[:, None] & inside[None, :]
    first = tl.sum(tl.load(place, mask=mask, other=0.0), axis=0)
    second = tl.sum(tl.load(place + channels, mask=mask, other=0.0), axis=0)
    shift = tl.zeros((G,), tl.float32)
    if BEFORE:  # sums of x + before in closed form
        shift = tl.load(before + column, mask=inside, other=0.0).to(tl.float32)
        second += shift * (2 * first + pixels * shift)
        first += pixels * shift
    mean = tl.sum(first, axis=0) / total
    rstd = 1 / tl.sqrt(tl.maximum(tl.sum(second, axis=0) / total - mean * mean, 0.0) + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(gain + item * channels + column, w * rstd, mask=inside)
    tl.store(offset + item * channels + column, b + (shift - mean) * rstd * w, mask=inside)
    tl.store(mean_out + item * tl.num_programs(1) + group, mean)
    tl.store(rstd_out + item * tl.num_programs(1) + group, rstd)


@triton.jit
def _coefficients_kernel(
    parts,
    weight,
    mean_in,
    rstd_in,
    slope,
    shift,
    dweight,
    dbias,
    count,
    channels,
    size,
    total,
    P: tl.constexpr,
    G: tl.constexpr,
):
    """Per (item, group): dx = gain * dz + slope * x + shift, and this item's share of the affine gradients."""
    item, group = tl.program_id(0), tl.program_id(1)
    member = tl.arange(0, G)
    inside = member < size
    column = group * size + member
    part = tl.arange(0, P)
    place = parts + ((item * count + part)[:, None] * 2) * channels + column[None, :]
    mask = (part < count)[:, None] & inside[None, :]
    first = tl.sum(tl.load(place, mask=mask, other=0.0), axis=0)
    second = tl.sum(tl.load(place + channels, mask=mask, other=0.0), axis=0)
    mean = tl.load(mean_in + item * tl.num_programs(1) + group)
    rstd = tl.load(rstd_in + item * tl.num_programs(1) + group)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    own = rstd * (second - mean * first)
    a = tl.sum(w * first, axis=0) / total
    b = tl.sum(w * own, axis=0) / total
    ones = tl.full((G,), 1.0, tl.float32)
    tl.store(slope + item * channels + column, ones * (-rstd * rstd * b), mask=inside)
    tl.store(shift + item * channels + column, ones * (rstd * rstd * b * mean - rstd * a), mask=inside)
    tl.store(dweight + item * channels + column, own, mask=inside)
    tl.store(dbias + item * channels + column, first, mask=inside)


@triton.jit
def _apply_kernel(
    x,
    dy,
    out,
    gain,
    offset,
    slope,
    shift,
    pixels,
    channels,
    out_row,
    SWISH: tl.constexpr,
    BACKWARD: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Forward: y = swish(x * gain + offset). Backward: dx = gain * dz + slope * x + shift."""
    item = tl.program_id(0)
    row = tl.program_id(1) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    inside = column < channels
    mask = (row < pixels)[:, None] & inside[None, :]
    place = (item.to(tl.int64) * pixels + row)[:, None] * channels + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    a = tl.load(gain + item * channels + column, mask=inside, other=0.0)[None, :]
    b = tl.load(offset + item * channels + column, mask=inside, other=0.0)[None, :]
    z = value * a + b
    if BACKWARD:
        grad = tl.load(dy + place, mask=mask, other=0.0).to(tl.float32)
        if SWISH:
            s = tl.sigmoid(z)
            grad = grad * s * (1 + z * (1 - s))
        c = tl.load(slope + item * channels + column, mask=inside, other=0.0)[None, :]
        d = tl.load(shift + item * channels + column, mask=inside, other=0.0)[None, :]
        result = a * grad + c * value + d
    elif SWISH:
        result = z * tl.sigmoid(z)
    else:
        result = z
    place = (item.to(tl.int64) * pixels + row)[:, None] * out_row + column[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=mask)


Affine = tuple[Tensor, Tensor, float]


class NormPlan:
    """Sizes of the launches for one shape."""

    def __init__(self, x: Tensor, groups: int) -> None:
        self.items, self.channels = x.shape[0], x.shape[1]
        self.pixels = x.shape[2] * x.shape[3]
        self.groups, self.size = groups, x.shape[1] // groups
        self.c = triton.next_power_of_2(self.channels)
        self.r = max(4, _TILE // self.c)
        spread = triton.next_power_of_2(max(1, self.items * self.pixels // _PROGRAMS))
        self.part = max(self.r, min(_ROWS_PER_PART, spread))
        self.parts = triton.cdiv(self.pixels, self.part)
        self.total = float(self.size * self.pixels)

    def partials(
        self, x: Tensor, other: Tensor, gain: Tensor, offset: Tensor, *, swish: bool, backward: bool
    ) -> Tensor:
        sums = torch.empty(self.items, self.parts, 2, self.channels, device=x.device, dtype=torch.float32)
        _partials_kernel[(self.items, self.parts)](
            x, other, gain, offset, sums, self.pixels, self.channels, self.pixels,
            PART=self.part, SWISH=swish, BACKWARD=backward, R=self.r, C=self.c,
        )  # fmt: skip
        return sums

    def statistics(
        self, norm: Affine, sums: Tensor, before: Tensor | None, coefficients: Tensor, moments: Tensor
    ) -> None:
        weight, bias, eps = norm
        _statistics_kernel[(self.items, self.groups)](
            sums, weight if before is None else before, weight, bias,
            coefficients[0], coefficients[1], moments[0], moments[1],
            self.parts, self.channels, self.size, float(self.pixels), self.total, eps,
            BEFORE=before is not None, **self.per_group(),
        )  # fmt: skip

    def apply(self, tensors: tuple[Tensor, ...], *, swish: bool, backward: bool, out_row: int | None = None) -> None:
        """``out_row``: values from one pixel of the output to the next; None: its channels."""
        out_row = self.channels if out_row is None else out_row
        _apply_kernel[(self.items, triton.cdiv(self.pixels, self.r))](
            *tensors, self.pixels, self.channels, out_row, SWISH=swish, BACKWARD=backward, R=self.r, C=self.c
        )

    def per_group(self) -> dict[str, int]:
        return {"P": triton.next_power_of_2(self.parts), "G": triton.next_power_of_2(self.size)}


class FusedGroupNorm(torch.autograd.Function):
    """``apply(x, weight, bias, groups, eps, swish)``: x (b c h w), half precision, channels last, on a GPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, swish: bool) -> Tensor:  # noqa: FBT001
        x = x.contiguous(memory_format=torch.channels_last)
        plan = NormPlan(x, groups)
        coefficients = torch.empty(2, plan.items, plan.channels, device=x.device, dtype=torch.float32)
        moments = torch.empty(2, plan.items, groups, device=x.device, dtype=torch.float32)
        sums = plan.partials(x, x, coefficients, coefficients, swish=swish, backward=False)
        plan.statistics((weight, bias, eps), sums, None, coefficients, moments)
        out = torch.empty_like(x)
        gain, offset = coefficients.unbind()
        plan.apply((x, x, out, gain, offset, gain, gain), swish=swish, backward=False)
        ctx.save_for_backward(x, weight, coefficients, moments)
        ctx.groups, ctx.swish = groups, swish
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, coefficients, moments = ctx.saved_tensors
        dy = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        plan = NormPlan(x, ctx.groups)
        gain, offset = coefficients.unbind()
        sums = plan.partials(x, dy, gain, offset, swish=ctx.swish, backward=True)
        found = torch.empty(4, plan.items, plan.channels, device=x.device, dtype=torch.float32)
        slope, shift, dweight, dbias = found.unbind()
        _coefficients_kernel[(plan.items, plan.groups)](
            sums, weight, moments[0], moments[1], slope, shift, dweight, dbias,
            plan.parts, plan.channels, plan.size, plan.total, **plan.per_group(),
        )  # fmt: skip
        dx = torch.empty_like(x)
        plan.apply((x, dy, dx, gain, offset, slope, shift), swish=ctx.swish, backward=True)
        affine = found[2:].sum(dim=1).to(weight.dtype)
        return dx, affine[0], affine[1], None, None, None
