"""A frozen convolution, its ReLU and the result's distances from targets, with gradients as Triton kernels.

What is compared is also what the next layer reads. Left to autograd, the way back there is three passes: the
distances' gradient, its sum with the next layer's, the ReLU's. Here one pass makes all three, with sums in float32.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from synhead.nn.fused_bias import by_pixel, convolve_rectified, input_gradient

_TILE = 4096
_BACK = 2048  # values of a program: two loads of 16 bytes a thread and picture
_PROGRAMS = 528


@triton.jit
def _sums_kernel(found, wanted, parts, count, part, N: tl.constexpr):
    """A part's share of the mean of one image set."""
    image, base = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64) * part
    total = tl.zeros((N,), tl.float32)
    for start in range(0, part, N):
        place = base + start + tl.arange(0, N)
        mask = place < tl.minimum(base + part, count)
        ours = tl.load(found + image * count + place, mask=mask, other=0.0).to(tl.float32)
        total += tl.abs(ours - tl.load(wanted + place, mask=mask, other=0.0).to(tl.float32))
    tl.store(parts + image * tl.num_programs(0) + tl.program_id(0), tl.sum(total, axis=0) / count)


@triton.jit
def _gradient_kernel(found, wanted, scale, through, out, count, THROUGH: tl.constexpr, N: tl.constexpr):
    """Where the ReLU was open, the sign of the difference times the set's scale, plus the other reader's gradient."""
    image, base = tl.program_id(1).to(tl.int64), tl.program_id(0).to(tl.int64) * N
    place = tl.arange(0, N)
    mask = place < count - base
    start = image * count + base
    ours = tl.load(found + start + place, mask=mask, other=0.0).to(tl.float32)
    theirs = tl.load(wanted + base + place, mask=mask, other=0.0).to(tl.float32)
    sign = (ours > theirs).to(tl.float32) - (ours < theirs).to(tl.float32)
    value = sign * (tl.load(scale + image) / count)
    if THROUGH:
        value += tl.load(through + start + place, mask=mask, other=0.0).to(tl.float32)
    value = tl.where(ours <= 0, 0.0, value)  # as PyTorch's threshold_backward, which lets NaN through
    tl.store(out + start + place, value.to(out.dtype.element_ty), mask=mask)


def mean_distances(found: Tensor, wanted: Tensor) -> Tensor:
    """E[|.|] (m) of each of m sets of images (mb c h w), one after the other, from one (b c h w); float32.

    Both channels last, half precision. Without gradients.
    """
    count = wanted.numel()
    sets = found.numel() // count
    part = triton.cdiv(triton.cdiv(count, _PROGRAMS), _TILE) * _TILE
    parts = torch.empty(sets, triton.cdiv(count, part), dtype=torch.float32, device=found.device)
    _sums_kernel[(parts.shape[1], sets)](found, wanted, parts, count, part, N=_TILE)
    return parts.sum(dim=1)


def rectified_gradient(found: Tensor, wanted: Tensor, distances: Tensor, through: Tensor | None) -> Tensor:
    """Behind the ReLU that made ``found`` (mb c h w), by its distances' gradient (m) and that of its other reader.

    All pictures channels last; a pass of three reads and one write.
    """
    count = wanted.numel()
    out = torch.empty_like(found)
    grid = (triton.cdiv(count, _BACK), found.numel() // count)
    added = found if through is None else through
    scale = distances.float().contiguous()
    _gradient_kernel[grid](found, wanted, scale, added, out, count, THROUGH=through is not None, N=_BACK)
    return out


class ComparedConvolution(torch.autograd.Function):
    """``apply(x, weight, bias, wanted)``: relu(3 x 3 convolution + bias) of x (mb c h w), and its mean distances (m).

    From ``wanted`` (b d h w), for each of m sets of images one after the other. Neither it nor weights have a gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        out = by_pixel(convolve_rectified(x, weight, bias))
        wanted = by_pixel(wanted)
        ctx.save_for_backward(x, weight, out, wanted)
        ctx.set_materialize_grads(False)
        return out, mean_distances(out, wanted)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, out, wanted = ctx.saved_tensors
        through, distances = gradients
        through = None if through is None else by_pixel(through)
        if distances is not None:
            inner = rectified_gradient(out, wanted, distances, through)
        elif through is not None:
            inner = torch.ops.aten.threshold_backward(through, out, 0)
        else:
            return None, None, None, None
        return input_gradient(inner, x, weight), None, None, None
