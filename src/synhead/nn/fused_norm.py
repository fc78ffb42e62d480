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

from synhead.nn.fused_bias import pixel_row
from synhead.nn.fused_norm_kernels import apply_kernel, coefficients_kernel, partials_kernel, statistics_kernel

# Values that a program holds at once: kernels that sum keep few, so that many of them share a processor's registers.
# Measured on an H200: sums of 64 channels at 256 x 256 take 0.67 of the time that they took with 4,096.
_TILE, _SUMMED = 2048, 1024
_ROWS_PER_PART = 512
_PROGRAMS = 1056  # that keep a large GPU busy, where there are pixels enough


Affine = tuple[Tensor, Tensor, float]


class Rows(NamedTuple):
    """Channels (b c h w) of each pixel, and how many values lie from one pixel to the next: c, or more between others.

    ``values`` may be a view, whose own strides tell nothing where a picture is one pixel wide.
    """

    values: Tensor
    row: int


class Gradients(NamedTuple):
    """Of the norm, and what else x's gradient is to hold, or None."""

    dy: Rows
    through: Rows | None = None


def rows_of(gradient: Tensor, dtype: torch.dtype) -> Rows:
    """A gradient (b c h w) where it lies, if that can be read by pixels, or a copy."""
    gradient = gradient.to(dtype)
    row = pixel_row(gradient)
    if row is None:
        return Rows(gradient.contiguous(memory_format=torch.channels_last), gradient.shape[1])
    return Rows(gradient, row)


class Saved(NamedTuple):
    """What gradients are made of: x, the weight, the bias left out before or None, coefficients and moments."""

    x: Tensor
    weight: Tensor
    before: Tensor | None
    coefficients: Tensor
    moments: Tensor


class NormPlan:
    """Sizes of the launches for one shape."""

    def __init__(self, x: Tensor, groups: int) -> None:
        self.items, self.channels = x.shape[0], x.shape[1]
        self.pixels = x.shape[2] * x.shape[3]
        self.groups, self.size = groups, x.shape[1] // groups
        self.c = triton.next_power_of_2(self.channels)
        self.r, self.summed = (max(4, tile // self.c) for tile in (_TILE, _SUMMED))
        spread = triton.next_power_of_2(max(1, self.items * self.pixels // _PROGRAMS))
        self.part = max(self.summed, min(_ROWS_PER_PART, spread))
        self.parts = triton.cdiv(self.pixels, self.part)
        self.total = float(self.size * self.pixels)

    def partials(self, x: Tensor, dz: Rows, gain: Tensor, offset: Tensor, *, swish: bool, backward: bool) -> Tensor:
        sums = torch.empty(self.items, self.parts, 2, self.channels, device=x.device, dtype=torch.float32)
        partials_kernel[(self.items, self.parts)](
            x, dz.values, gain, offset, sums, self.pixels, self.channels, dz.row,
            PART=self.part, SWISH=swish, BACKWARD=backward, R=self.summed, C=self.c,
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

    def apply(
        self, x: Tensor, out: Rows, coefficients: tuple[Tensor, ...], gradients: Gradients | None, *, swish: bool
    ) -> None:
        """``coefficients``: gain, offset, slope and shift. ``gradients``: None for the norm itself."""
        unread = Rows(x, self.channels)
        dy, through = gradients or Gradients(unread)
        added = through or unread
        apply_kernel[(self.items, triton.cdiv(self.pixels, self.r))](
            x, dy.values, added.values, out.values, *coefficients,
            self.pixels, self.channels, dy.row, added.row, out.row,
            SWISH=swish, BACKWARD=gradients is not None, THROUGH=through is not None, R=self.r, C=self.c,
        )  # fmt: skip

    def normalise(
        self, x: Tensor, norm: Affine, before: Tensor | None, out: Rows, *, swish: bool
    ) -> tuple[Tensor, Tensor]:
        """The norm of x + before into ``out``; its coefficients and moments."""
        coefficients = torch.empty(3, self.items, self.channels, device=x.device, dtype=torch.float32)
        moments = torch.empty(2, self.items, self.groups, device=x.device, dtype=torch.float32)
        sums = self.partials(x, Rows(x, self.channels), coefficients, coefficients, swish=swish, backward=False)
        self.statistics(norm, sums, before, coefficients, moments)
        gain, offset, _ = coefficients.unbind()
        self.apply(x, out, (gain, offset, gain, gain), None, swish=swish)
        return coefficients, moments

    def gradients(self, saved: Saved, given: Gradients, *, swish: bool) -> tuple[Tensor, Tensor]:
        """Of x; and of the weight, the bias and, if there is one, the bias before (2 or 3, c), float32."""
        x, weight, before, coefficients, moments = saved
        gain, offset, channel_sums = coefficients.unbind()
        sums = self.partials(x, given.dy, gain, offset, swish=swish, backward=True)
        found = torch.empty(5, self.items, self.channels, device=x.device, dtype=torch.float32)
        slope, shift, dweight, dbias, dbefore = found.unbind()
        coefficients_kernel[(self.items, self.groups)](
            sums, weight if before is None else before, weight, moments[0], moments[1], channel_sums,
            slope, shift, dweight, dbias, dbefore,
            self.parts, self.channels, self.size, float(self.pixels), self.total,
            BEFORE=before is not None, **self.per_group(),
        )  # fmt: skip
        dx = torch.empty_like(x)
        self.apply(x, Rows(dx, self.channels), (gain, offset, slope, shift), given, swish=swish)
        return dx, found[2 : 4 if before is None else 5].sum(dim=1)

    def per_group(self) -> dict[str, int]:
        return {"P": triton.next_power_of_2(self.parts), "G": triton.next_power_of_2(self.size)}


class GroupNormOptions(NamedTuple):
    """How many groups, what is added to their variance, and whether a swish follows.

    ``through``: whether x is handed through as a further result. Whoever else needs x reads that one; then the sum of
    both gradients is made inside the norm's backward pass, where autograd would take a pass more.
    """

    groups: int
    eps: float
    swish: bool
    through: bool = False


class FusedGroupNorm(torch.autograd.Function):
    """``apply(x, weight, bias, before, options)``: x (b c h w), half precision, channels last, on a GPU.

    ``before``: a bias (c) that whoever made x left out, or None. The norm, or with ``through`` the norm and x, which
    is no copy and may not be written over.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, before: Tensor | None, options: GroupNormOptions
    ) -> Tensor | tuple[Tensor, Tensor]:
        groups, eps, swish, through = options
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        made = NormPlan(x, groups).normalise(x, (weight, bias, eps), before, Rows(out, x.shape[1]), swish=swish)
        ctx.save_for_backward(x, weight, before, *made)
        ctx.groups, ctx.swish = groups, swish
        ctx.set_materialize_grads(False)
        return (out, x) if through else out  # autograd makes a view of an input that is returned

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, through: Tensor | None = None) -> tuple[Tensor | None, ...]:
        if dy is None:
            return through, None, None, None, None
        saved = Saved(*ctx.saved_tensors)
        kind = saved.x.dtype
        given = Gradients(rows_of(dy, kind), None if through is None else rows_of(through, kind))
        dx, affine = NormPlan(saved.x, ctx.groups).gradients(saved, given, swish=ctx.swish)
        affine = affine.to(saved.weight.dtype)
        return dx, affine[0], affine[1], None if saved.before is None else affine[2], None
