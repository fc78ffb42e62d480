"""Convolutions of few channels as Triton kernels, with all that follows them: half precision, channels last, inference.

A library's convolution of 16 or 32 channels leaves half of its matrix tiles empty, so that one of our own is as fast
and can add biases, sums and activations before it writes: at full size, where the channels are few, every pass over a
picture that is saved counts. So can convolutions of a flow, whose two channels a library fills up to eight.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.triton_kernels import ACTIVATIONS, Activation, activated

_NARROW = (16, 32)
_ROWS, _COLUMNS = 4, 32  # of a tile


@triton.jit
def _tile(height, width, TH: tl.constexpr, TW: tl.constexpr):
    """This program's tile: item, rows, columns, and which of them the picture has."""
    across = tl.cdiv(width, TW)
    tiles = across * tl.cdiv(height, TH)
    tile, item = tl.program_id(0) % tiles, (tl.program_id(0) // tiles).to(tl.int64)
    place = tl.arange(0, TH * TW)
    y, x = (tile // across) * TH + place // TW, (tile % across) * TW + place % TW
    return item, y, x, (y < height) & (x < width)


@triton.jit
def _narrow_kernel(
    picture,
    weight,
    bias,
    other,
    first,
    second,
    first_weight,
    second_weight,
    out,
    height,
    width,
    CI: tl.constexpr,
    CO: tl.constexpr,
    A: tl.constexpr,
    B: tl.constexpr,
    ACTIVATION: tl.constexpr,
    OTHER: tl.constexpr,
    TH: tl.constexpr,
    TW: tl.constexpr,
):
    """activation(3 x 3 convolution of CI channels + bias) + other + products of A and B channels, if any."""
    item, y, x, real = _tile(height, width, TH, TW)
    pixel = (item * height + y) * width + x
    i, o = tl.arange(0, CI), tl.arange(0, CO)
    total = tl.zeros((TH * TW, CO), tl.float32)
    for tap in tl.range(0, 9, num_stages=3):
        dy, dx = tap // 3 - 1, tap % 3 - 1
        mask = real & (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        values = tl.load(picture + (pixel + dy * width + dx)[:, None] * CI + i[None, :], mask=mask[:, None], other=0.0)
        taps = tl.load(weight + (tap * CI + i)[:, None] * CO + o[None, :])
        total = tl.dot(values, taps, total, input_precision="ieee")
    total = activated(total + tl.load(bias + o).to(tl.float32)[None, :], ACTIVATION)
    place = pixel[:, None] * CO + o[None, :]
    if OTHER:
        total += tl.load(other + place, mask=real[:, None], other=0.0).to(tl.float32)
    if A > 0:
        a = tl.arange(0, A)
        values = tl.load(first + pixel[:, None] * A + a[None, :], mask=real[:, None], other=0.0)
        total = tl.dot(values, tl.load(first_weight + a[:, None] * CO + o[None, :]), total, input_precision="ieee")
    if B > 0:
        b = tl.arange(0, B)
        values = tl.load(second + pixel[:, None] * B + b[None, :], mask=real[:, None], other=0.0)
        total = tl.dot(values, tl.load(second_weight + b[:, None] * CO + o[None, :]), total, input_precision="ieee")
    tl.store(out + place, total.to(out.dtype.element_ty), mask=real[:, None])


@triton.jit
def _modulation_kernel(
    hidden,
    compensated,
    picture,
    weights,
    scale_bias,
    shift_bias,
    out,
    height,
    width,
    strength,
    C: tl.constexpr,
    TH: tl.constexpr,
    TW: tl.constexpr,
):
    """x + strength * x * scale + shift: the last convolutions of both branches, and of the addition, in one."""
    item, y, x, real = _tile(height, width, TH, TW)
    pixel = (item * height + y) * width + x
    c = tl.arange(0, C)
    scale, shift = tl.zeros((TH * TW, C), tl.float32), tl.zeros((TH * TW, C), tl.float32)
    for tap in tl.range(0, 9, num_stages=2):
        dy, dx = tap // 3 - 1, tap % 3 - 1
        mask = (real & (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width))[:, None]
        there = (pixel + dy * width + dx)[:, None]
        taps = weights + (tap * C + c)[:, None] * C + c[None, :]
        branch = hidden + there * 2 * C + c[None, :]
        scale = tl.dot(tl.load(branch, mask=mask, other=0.0), tl.load(taps), scale, input_precision="ieee")
        values = tl.load(branch + C, mask=mask, other=0.0)
        shift = tl.dot(values, tl.load(taps + 9 * C * C), shift, input_precision="ieee")
        values = tl.load(compensated + there * C + c[None, :], mask=mask, other=0.0)
        shift = tl.dot(values, tl.load(taps + 18 * C * C), shift, input_precision="ieee")
    scale += tl.load(scale_bias + c).to(tl.float32)[None, :]
    shift += tl.load(shift_bias + c).to(tl.float32)[None, :]
    place = pixel[:, None] * C + c[None, :]
    value = tl.load(picture + place, mask=real[:, None], other=0.0).to(tl.float32)
    tl.store(out + place, (value + strength * value * scale + shift).to(out.dtype.element_ty), mask=real[:, None])


@triton.jit
def _flow_kernel(
    flow,
    weight,
    bias,
    out,
    item_stride,
    channel_stride,
    row_stride,
    column_stride,
    height,
    width,
    outputs,
    ACTIVATION: tl.constexpr,
    SIDE: tl.constexpr,
    K: tl.constexpr,
    CO: tl.constexpr,
    R: tl.constexpr,
):
    """A SIDE x SIDE convolution of two channels, its taps and channels gathered into one product, 32 at a time."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    real = pixel < height * width
    y, x = pixel // width, pixel % width
    o = tl.arange(0, CO)
    total = tl.zeros((R, CO), tl.float32)
    for start in tl.static_range(0, K, 32):
        k = start + tl.arange(0, 32)
        tap, channel = k // 2, k % 2
        v = y[:, None] + (tap // SIDE - SIDE // 2)[None, :]
        u = x[:, None] + (tap % SIDE - SIDE // 2)[None, :]
        mask = real[:, None] & (tap < SIDE * SIDE)[None, :] & (v >= 0) & (v < height) & (u >= 0) & (u < width)
        place = item * item_stride + channel[None, :] * channel_stride + v * row_stride + u * column_stride
        values = tl.load(flow + place, mask=mask, other=0.0).to(weight.dtype.element_ty)
        total = tl.dot(values, tl.load(weight + k[:, None] * CO + o[None, :]), total, input_precision="ieee")
    total = activated(total + tl.load(bias + o, mask=o < outputs, other=0.0).to(tl.float32)[None, :], ACTIVATION)
    place = (item * height * width + pixel)[:, None] * outputs + o[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=real[:, None] & (o < outputs)[None, :])


class Joined(NamedTuple):
    """A pixelwise product to be added to a convolution: values (b h w a) and weight (a o)."""

    values: Tensor
    weight: Tensor


def is_narrow(conv: nn.Module) -> bool:
    """Whether ``conv`` is a 3 x 3 convolution between 16 or 32 channels that these kernels take."""
    return (
        isinstance(conv, nn.Conv2d)
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.in_channels in _NARROW
        and conv.out_channels in _NARROW
    )


def packed(weight: Float[Tensor, "o i kh kw"]) -> Float[Tensor, "k o"]:
    """A convolution's weight as the kernels read it: taps row by row, inputs, outputs fastest."""
    return rearrange(weight.detach(), "o i kh kw -> (kh kw i) o").contiguous()


def convolve_narrow(
    x: Float[Tensor, "b h w i"],
    weight: Float[Tensor, "k o"],
    bias: Float[Tensor, " o"],
    *,
    activation: Activation = "none",
    other: Float[Tensor, "b h w o"] | None = None,
    joined: tuple[Joined, ...] = (),
) -> Float[Tensor, "b h w o"]:
    """``activation(convolution + bias) + other + products``; everything without gaps; at most two products."""
    batch, height, width, inputs = x.shape
    out = x.new_empty(batch, height, width, weight.shape[1])
    first, second = (joined[i] if i < len(joined) else None for i in range(2))
    _narrow_kernel[_grid(x)](
        x, weight, bias, x if other is None else other,
        x if first is None else first.values, x if second is None else second.values,
        x if first is None else first.weight, x if second is None else second.weight, out, height, width,
        CI=inputs, CO=weight.shape[1],
        A=0 if first is None else first.weight.shape[0], B=0 if second is None else second.weight.shape[0],
        ACTIVATION=ACTIVATIONS[activation], OTHER=other is not None, TH=_ROWS, TW=_COLUMNS,
    )  # fmt: skip
    return out


def modulate_narrow(
    x: Float[Tensor, "b h w c"],
    hidden: Float[Tensor, "b h w c2"],
    compensated: Float[Tensor, "b h w c"],
    weights: Float[Tensor, "3 k c"],
    biases: tuple[Float[Tensor, " c"], Float[Tensor, " c"]],
    strength: float,
) -> Float[Tensor, "b h w c"]:
    """``x + strength * x * scale + shift``; ``hidden``: of both branches; weights of scale, shift and addition."""
    _, height, width, channels = x.shape
    out = torch.empty_like(x)
    _modulation_kernel[_grid(x)](
        hidden, compensated, x, weights, *biases, out, height, width, strength, C=channels, TH=_ROWS, TW=_COLUMNS
    )
    return out


def convolve_flow(
    flow: Float[Tensor, "b 2 h w"],
    weight: Float[Tensor, "k o"],
    bias: Float[Tensor, " d"],
    side: int,
    activation: Activation = "none",
) -> Float[Tensor, "b h w d"]:
    """A ``side`` x ``side`` convolution that keeps the size; ``weight``: packed, zeros up to multiples of 32 and 16."""
    batch, _, height, width = flow.shape
    outputs, o = len(bias), weight.shape[1]
    out = torch.empty(batch, height, width, outputs, dtype=weight.dtype, device=flow.device)
    r = 128
    _flow_kernel[(batch, triton.cdiv(height * width, r))](
        flow, weight, bias, out, *flow.stride(), height, width, outputs,
        ACTIVATION=ACTIVATIONS[activation], SIDE=side, K=weight.shape[0], CO=o, R=r,
    )  # fmt: skip
    return out


def _grid(x: Float[Tensor, "b h w i"]) -> tuple[int]:
    batch, height, width, _ = x.shape
    return (batch * triton.cdiv(height, _ROWS) * triton.cdiv(width, _COLUMNS),)
