"""Mean absolute differences with gradients as Triton kernels: one pass over both tensors each way, sums in float32."""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["MeanDistances"]

_TILE = 4096
_PROGRAMS = 528


@triton.jit
def _sums_kernel(found, wanted, parts, count, part, N: tl.constexpr):
    """A part's sum of one image set."""
    image, base = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64) * part
    total = tl.zeros((N,), tl.float32)
    for start in range(0, part, N):
        place = base + start + tl.arange(0, N)
        mask = place < tl.minimum(base + part, count)
        ours = tl.load(found + image * count + place, mask=mask, other=0.0).to(tl.float32)
        total += tl.abs(ours - tl.load(wanted + place, mask=mask, other=0.0).to(tl.float32))
    tl.store(parts + image * tl.num_programs(0) + tl.program_id(0), tl.sum(total, axis=0))


@triton.jit
def _signs_kernel(found, wanted, scale, out, count, N: tl.constexpr):
    """The gradient: the sign of the difference times the set's scale."""
    image = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0).to(tl.int64) * N + tl.arange(0, N)
    mask = place < count
    ours = tl.load(found + image * count + place, mask=mask, other=0.0).to(tl.float32)
    theirs = tl.load(wanted + place, mask=mask, other=0.0).to(tl.float32)
    sign = (ours > theirs).to(tl.float32) - (ours < theirs).to(tl.float32)
    value = sign * tl.load(scale + image)
    tl.store(out + image * count + place, value.to(out.dtype.element_ty), mask=mask)


class MeanDistances(torch.autograd.Function):
    """``apply(found, wanted)``: E[|.|] of each of m sets of images (mb c h w), one after the other, from one (b c h w).

    ``wanted`` has no gradient. Both are read as they lie, channels last.
    """

    @staticmethod
    def forward(ctx: Any, found: Tensor, wanted: Tensor) -> Tensor:
        found = found.contiguous(memory_format=torch.channels_last)
        wanted = wanted.contiguous(memory_format=torch.channels_last)
        count = wanted.numel()
        sets = found.numel() // count
        part = triton.cdiv(triton.cdiv(count, _PROGRAMS), _TILE) * _TILE
        parts = torch.empty(sets, triton.cdiv(count, part), dtype=torch.float32, device=found.device)
        _sums_kernel[(parts.shape[1], sets)](found, wanted, parts, count, part, N=_TILE)
        ctx.save_for_backward(found, wanted)
        return parts.sum(dim=1) / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        found, wanted = ctx.saved_tensors
        count = wanted.numel()
        scale = (gradients[0].float() / count).contiguous()
        out = torch.empty_like(found)
        _signs_kernel[(triton.cdiv(count, _TILE), len(scale))](found, wanted, scale, out, count, N=_TILE)
        return out, None
