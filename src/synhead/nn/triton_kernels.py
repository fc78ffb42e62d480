"""What stands between convolutions and products, as Triton kernels: half precision, channels last, inference only.

PyTorch adds every bias in a pass of its own, and norms, activations and sums in more. Here a convolution leaves its
bias out, and whoever reads its result next adds it: the following group norm at no cost (the bias shifts a channel's
sums in closed form), an activation, a sum or a modulation in the pass that they need anyway. Sums are float32, rounded
once.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import Literal

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

Activation = Literal["none", "relu", "leaky", "gelu"]

_TILE = 4096
ACTIVATIONS = {"none": 0, "relu": 1, "leaky": 2, "gelu": 3}


@triton.jit
def activated(value, ACTIVATION: tl.constexpr):
    """One of ACTIVATIONS."""
    if ACTIVATION == 1:
        value = tl.maximum(value, 0.0)
    if ACTIVATION == 2:
        value = tl.where(value > 0, value, 0.2 * value)
    if ACTIVATION == 3:
        value = 0.5 * value * (1 + tl.erf(value * 0.7071067811865476))
    return value


@triton.jit
def _table_kernel(
    x,
    other,
    second,
    table,
    out,
    rows,
    width,
    ACTIVATION: tl.constexpr,
    OTHERS: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """activation(x + table) + other + second, of which OTHERS are there; ``table`` is the same for every row."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.program_id(1) * C + tl.arange(0, C)
    mask = (row < rows)[:, None] & (column < width)[None, :]
    place = row.to(tl.int64)[:, None] * width + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    value += tl.load(table + column, mask=column < width, other=0.0).to(tl.float32)[None, :]
    value = activated(value, ACTIVATION)
    if OTHERS > 0:
        value += tl.load(other + place, mask=mask, other=0.0).to(tl.float32)
    if OTHERS > 1:
        value += tl.load(second + place, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=mask)


@triton.jit
def _modulate_kernel(
    x,
    scale,
    shift,
    extra,
    scale_bias,
    shift_bias,
    rows,
    width,
    weight,
    EXTRA: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """x + weight * (x * (scale + bias) + shift + bias) + extra, over ``shift``."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    inside = column < width
    mask = (row < rows)[:, None] & inside[None, :]
    place = row.to(tl.int64)[:, None] * width + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    a = tl.load(scale + place, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(shift + place, mask=mask, other=0.0).to(tl.float32)
    a += tl.load(scale_bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    b += tl.load(shift_bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    result = value + weight * (value * a + b)
    if EXTRA:
        result += tl.load(extra + place, mask=mask, other=0.0).to(tl.float32)
    tl.store(shift + place, result.to(shift.dtype.element_ty), mask=mask)


@triton.jit
def _add_norm_kernel(
    x,
    update,
    update_bias,
    weight,
    bias,
    total,
    out,
    rows,
    width,
    eps,
    UPDATE: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """total = x + update + its bias; out = layer norm of that."""
    row = tl.program_id(0) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    inside = column < width
    mask = (row < rows)[:, None] & inside[None, :]
    place = row.to(tl.int64)[:, None] * width + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    if UPDATE:
        value += tl.load(update + place, mask=mask, other=0.0).to(tl.float32)
        value += tl.load(update_bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        tl.store(total + place, value.to(total.dtype.element_ty), mask=mask)
    mean = tl.sum(value, axis=1) / width
    centred = tl.where(mask, value - mean[:, None], 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centred * centred, axis=1) / width + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    offset = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    tl.store(out + place, (centred * rstd[:, None] * gain + offset).to(out.dtype.element_ty), mask=mask)


@triton.jit
def _phases_kernel(
    phases, bias, out, height, width, channels, ACTIVATION: tl.constexpr, R: tl.constexpr, C: tl.constexpr
):
    """The four phases of a picture, one more row and column each (h+1 w+1 4c), in their places, plus the bias."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < 4 * height * width
    row, col = pixel // (2 * width), pixel % (2 * width)
    down, right = row % 2, col % 2
    column = tl.arange(0, C)
    inside = column < channels
    known = mask[:, None] & inside[None, :]
    y, x = row // 2 + down, col // 2 + right
    place = (item * (height + 1) + y) * (width + 1) + x
    source = (place * 4 + 2 * down + right)[:, None] * channels + column[None, :]
    value = tl.load(phases + source, mask=known, other=0.0).to(tl.float32)
    value = activated(value + tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :], ACTIVATION)
    target = (item * 4 * height * width + pixel)[:, None] * channels + column[None, :]
    tl.store(out + target, value.to(out.dtype.element_ty), mask=known)


def add_table(
    x: Float[Tensor, "*b n"],
    table: Float[Tensor, " n"],
    *,
    activation: Activation = "none",
    other: Float[Tensor, "*b n"] | None = None,
    second: Float[Tensor, "*b n"] | None = None,
) -> Float[Tensor, "*b n"]:
    """``activation(x + table) + other + second``, over ``x``; ``table``: a bias, or positions.

    All lie without gaps; ``second`` only beside ``other``.
    """
    width = len(table)
    rows = x.numel() // width
    c = min(triton.next_power_of_2(width), _TILE)
    r = max(1, _TILE // c)
    _table_kernel[(triton.cdiv(rows, r), triton.cdiv(width, c))](
        x, x if other is None else other, x if second is None else second, table, x, rows, width,
        ACTIVATION=ACTIVATIONS[activation], OTHERS=(other is not None) + (second is not None), R=r, C=c,
    )  # fmt: skip
    return x


def modulate(
    x: Float[Tensor, "*b c"],
    scale: tuple[Float[Tensor, "*b c"], Float[Tensor, " c"]],
    shift: tuple[Float[Tensor, "*b c"], Float[Tensor, " c"]],
    weight: float,
    extra: Float[Tensor, "*b c"] | None = None,
) -> Float[Tensor, "*b c"]:
    """SFT, ``x + weight * (x * scale + shift) + extra``, over the memory of shift; pairs are values and their bias."""
    width = x.shape[-1]
    rows = x.numel() // width
    c = triton.next_power_of_2(width)
    r = max(1, _TILE // 2 // c)
    _modulate_kernel[(triton.cdiv(rows, r),)](
        x, scale[0], shift[0], x if extra is None else extra, scale[1], shift[1], rows, width, weight,
        EXTRA=extra is not None, R=r, C=c,
    )  # fmt: skip
    return shift[0]


def add_norm(
    norm: tuple[Float[Tensor, " c"], Float[Tensor, " c"], float],
    x: Float[Tensor, "b n c"],
    update: tuple[Float[Tensor, "b n c"], Float[Tensor, " c"]] | None = None,
) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]]:
    """``x + update`` (values and their bias), and its layer norm. Without an update, ``x`` itself and its norm.

    ``norm``: weight, bias and what is added to the variance.
    """
    weight, offset, eps = norm
    width = x.shape[-1]
    rows = x.numel() // width
    c = triton.next_power_of_2(width)
    r = max(1, _TILE // c)
    total = x if update is None else torch.empty_like(x)
    out = torch.empty_like(x)
    values, bias = (x, offset) if update is None else update
    _add_norm_kernel[(triton.cdiv(rows, r),)](
        x, values, bias, weight, offset, total, out, rows, width, eps,
        UPDATE=update is not None, R=r, C=c,
    )  # fmt: skip
    return total, out


def join_phases(
    phases: Float[Tensor, "b h1 w1 c4"], bias: Float[Tensor, " c"], activation: Activation = "none"
) -> Float[Tensor, "b h2 w2 c"]:
    """The enlarged picture of PhaseUpsample from its convolution's result without bias."""
    batch, height, width, wide = phases.shape
    height, width, channels = height - 1, width - 1, wide // 4
    out = phases.new_empty(batch, 2 * height, 2 * width, channels)
    c = triton.next_power_of_2(channels)
    r = max(1, _TILE // c)
    _phases_kernel[(batch, triton.cdiv(4 * height * width, r))](
        phases, bias, out, height, width, channels, ACTIVATION=ACTIVATIONS[activation], R=r, C=c
    )  # fmt: skip
    return out
