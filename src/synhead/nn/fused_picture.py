"""Pictures normalised for a half-precision convolution as a Triton kernel: one pass, eight channels.

Tensor cores read 16 bytes at once: of pictures of three half-precision channels cuDNN makes copies, or takes slow
kernels, both ways.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ALIGNED = 8
_PIXELS = 256


@triton.jit
def _normalize_kernel(
    image, mean, std, out, pixels, channels, pixel_step, channel_step, N: tl.constexpr, C: tl.constexpr
):
    """(image - mean) / std of N pixels, then zeros up to C channels."""
    batch, pixel = tl.program_id(1).to(tl.int64), tl.program_id(0) * N + tl.arange(0, N)
    column = tl.arange(0, C)
    colour = column < channels
    inside = (pixel < pixels)[:, None]
    place = batch * pixels * channels + pixel[:, None] * pixel_step + column[None, :] * channel_step
    value = tl.load(image + place, mask=inside & colour[None, :], other=0.0).to(tl.float32)
    middle = tl.load(mean + column, mask=colour, other=0.0).to(tl.float32)
    spread = tl.load(std + column, mask=colour, other=1.0).to(tl.float32)
    value = (value - middle[None, :]) / spread[None, :]
    target = (batch * pixels + pixel)[:, None] * C + column[None, :]
    tl.store(out + target, value.to(out.dtype.element_ty), mask=inside)


class NormalizedPicture(torch.autograd.Function):
    """``apply(image, mean, std, dtype)``: (image - mean) / std of (b c h w) in ``dtype``, channels last.

    Channels of zeros follow, up to eight or the next power of two. ``mean`` and ``std`` (1 c 1 1) have no gradient.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
        b, c, h, w = image.shape
        by_pixel = not image.is_contiguous()
        image = image.contiguous(memory_format=torch.channels_last) if by_pixel else image
        padded = max(_ALIGNED, triton.next_power_of_2(c))
        out = torch.empty((b, padded, h, w), dtype=dtype, device=image.device, memory_format=torch.channels_last)
        steps = (c, 1) if by_pixel else (1, h * w)
        grid = (triton.cdiv(h * w, _PIXELS), b)
        _normalize_kernel[grid](image, mean, std, out, h * w, c, *steps, N=_PIXELS, C=padded)
        ctx.save_for_backward(std)
        ctx.image_type = image.dtype
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (std,) = ctx.saved_tensors
        return (gradients[0][:, : std.shape[1]] / std).to(ctx.image_type), None, None, None
