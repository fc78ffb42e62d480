"""Group norm with an optional swish as Triton kernels: half precision, channels last, two reads and one write.

PyTorch's own group norm is NCHW and, under autocast, float32: around every norm it converts layouts and doubles the
bytes. Here x is seen as (batch, pixels, channels); statistics are float32; ``z = x * gain[n, c] + offset[n, c]``.
Backward recomputes z from x, so that only x is kept. Sums go through partials, not atomics: results are repeatable.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, type-arg"
from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from synhead.nn.fused_norm_kernels import apply_kernel, coefficients_kernel, partials_kernel, statistics_kernel

__all__ = ["Affine", "FusedGroupNorm", "GroupNormOptions", "NormPlan"]

_TILE = 4096
_ROWS_PER_PART = 512
_PROGRAMS = 264  # that keep a large GPU busy, where there are pixels enough


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
        partials_kernel[(self.items, self.parts)](
            x, other, gain, offset, sums, self.pixels, self.channels, self.pixels,
            PART=self.part, SWISH=swish, BACKWARD=backward, R=self.r, C=self.c,
        )  # fmt: skip
        return sums

    def statistics(
        self, norm: Affine, sums: Tensor, before: Tensor | None, coefficients: Tensor, moments: Tensor
    ) -> None:
        """``coefficients``: gain, offset and sum of each channel."""
        weight, bias, eps = norm
        statistics_kernel[(self.items, self.groups)](
            sums, weight if before is None else before, weight, bias,
            coefficients[0], coefficients[1], moments[0], moments[1], coefficients[2],
            self.parts, self.channels, self.size, float(self.pixels), self.total, eps,
            BEFORE=before is not None, **self.per_group(),
        )  # fmt: skip

    def apply(self, tensors: tuple[Tensor, ...], *, swish: bool, backward: bool, out_row: int | None = None) -> None:
        """``out_row``: values from one pixel of the output to the next; None: its channels."""
        out_row = self.channels if out_row is None else out_row
        apply_kernel[(self.items, triton.cdiv(self.pixels, self.r))](
            *tensors, self.pixels, self.channels, out_row, SWISH=swish, BACKWARD=backward, R=self.r, C=self.c
        )

    def per_group(self) -> dict[str, int]:
        return {"P": triton.next_power_of_2(self.parts), "G": triton.next_power_of_2(self.size)}


class GroupNormOptions(NamedTuple):
    """How many groups, what is added to their variance, and whether a swish follows."""

    groups: int
    eps: float
    swish: bool


class FusedGroupNorm(torch.autograd.Function):
    """``apply(x, weight, bias, before, options)``: x (b c h w), half precision, channels last, on a GPU.

    ``before``: a bias (c) that whoever made x left out, or None.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None, options: GroupNormOptions
    ) -> Tensor:
        groups, eps, swish = options
        x = x.contiguous(memory_format=torch.channels_last)
        plan = NormPlan(x, groups)
        coefficients = torch.empty(3, plan.items, plan.channels, device=x.device, dtype=torch.float32)
        moments = torch.empty(2, plan.items, groups, device=x.device, dtype=torch.float32)
        sums = plan.partials(x, x, coefficients, coefficients, swish=swish, backward=False)
        plan.statistics((weight, bias, eps), sums, before, coefficients, moments)
        out = torch.empty_like(x)
        gain, offset, _ = coefficients.unbind()
        plan.apply((x, x, out, gain, offset, gain, gain), swish=swish, backward=False)
        ctx.save_for_backward(x, weight, coefficients, moments, *([] if before is None else [before]))
        ctx.groups, ctx.swish = groups, swish
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, coefficients, moments, *before = ctx.saved_tensors
        dy = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        plan = NormPlan(x, ctx.groups)
        gain, offset, channel_sums = coefficients.unbind()
        sums = plan.partials(x, dy, gain, offset, swish=ctx.swish, backward=True)
        found = torch.empty(5, plan.items, plan.channels, device=x.device, dtype=torch.float32)
        slope, shift, dweight, dbias, dbefore = found.unbind()
        coefficients_kernel[(plan.items, plan.groups)](
            sums, before[0] if before else weight, weight, moments[0], moments[1], channel_sums,
            slope, shift, dweight, dbias, dbefore,
            plan.parts, plan.channels, plan.size, float(plan.pixels), plan.total,
            BEFORE=bool(before), **plan.per_group(),
        )  # fmt: skip
        dx = torch.empty_like(x)
        plan.apply((x, dy, dx, gain, offset, slope, shift), swish=ctx.swish, backward=True)
        affine = found[2 : 5 if before else 4].sum(dim=1).to(weight.dtype)
        return dx, affine[0], affine[1], affine[2] if before else None, None
