"""Warping as one Triton kernel: a small flow enlarged, the feature sampled and occluded. For inference only.

PyTorch enlarges the flow, converts the feature to the flow's float32 once a frame, samples, converts back and
multiplies by the enlarged visibility. Here a program reads the 64 x 64 flow and the feature (channels last; one source
serves the batch), and writes the result; coordinates and sums are float32.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

_TILE = 2048


@triton.jit
def _enlarged(plane, stride, flow, y, x, mask):
    """The value of a plane of ``flow`` x ``flow`` at fractional rows and columns, as an aligned resize gives it."""
    top, left = tl.floor(y), tl.floor(x)
    down, right = y - top, x - left
    top, left = top.to(tl.int32), left.to(tl.int32)
    bottom, beside = tl.minimum(top + 1, flow - 1), tl.minimum(left + 1, flow - 1)
    a = tl.load(plane + (top * flow + left) * stride, mask=mask, other=0.0)
    b = tl.load(plane + (top * flow + beside) * stride, mask=mask, other=0.0)
    c = tl.load(plane + (bottom * flow + left) * stride, mask=mask, other=0.0)
    d = tl.load(plane + (bottom * flow + beside) * stride, mask=mask, other=0.0)
    return (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)


@triton.jit
def corner(feature, y, x, side, channels, column, mask):
    """Values of one corner of a bilinear sample, zero outside the feature; where they are, and whether."""
    inside = mask & (y >= 0) & (y < side) & (x >= 0) & (x < side)
    place = (y * side + x)[:, None] * channels + column[None, :]
    known = inside[:, None] & (column < channels)[None, :]
    return tl.load(feature + place, mask=known, other=0.0).to(tl.float32), place, known


@triton.jit
def parted(u, side):
    """The whole and the rest of a position in the feature, which may be anywhere, and no number.

    Far outside every corner is zero; clamping keeps the conversion to whole numbers defined. Comparisons, for what
    minimum and maximum make of no number differs between releases of Triton's interpreter.
    """
    u = tl.where(u > -2.0, u, -2.0)
    u = tl.where(u < side + 1.0, u, side + 1.0)
    whole = tl.floor(u)
    return whole.to(tl.int32), u - whole


@triton.jit
def _warp_kernel(
    feature,
    grid,
    visibility,
    index,
    out,
    item_stride,
    side,
    channels,
    flow,
    size,
    ratio,
    VISIBLE: tl.constexpr,
    INDEXED: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """R pixels of one item. ``index``: which rows and columns of the full picture the output has; else all of them."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < size * size
    row, col = pixel // size, pixel % size
    if INDEXED:
        row = tl.load(index + row, mask=mask, other=0)
        col = tl.load(index + col, mask=mask, other=0)
    y, x = row.to(tl.float32) * ratio, col.to(tl.float32) * ratio
    flows = grid + item * flow * flow * 2
    u = (_enlarged(flows, 2, flow, y, x, mask) + 1) * 0.5 * (side - 1)
    v = (_enlarged(flows + 1, 2, flow, y, x, mask) + 1) * 0.5 * (side - 1)
    left, right = parted(u, side)
    top, down = parted(v, side)
    right, down = right[:, None], down[:, None]
    column = tl.arange(0, C)
    source = feature + item * item_stride
    a, _, _ = corner(source, top, left, side, channels, column, mask)
    b, _, _ = corner(source, top, left + 1, side, channels, column, mask)
    c, _, _ = corner(source, top + 1, left, side, channels, column, mask)
    d, _, _ = corner(source, top + 1, left + 1, side, channels, column, mask)
    result = (1 - down) * ((1 - right) * a + right * b) + down * ((1 - right) * c + right * d)
    if VISIBLE:
        result *= _enlarged(visibility + item * flow * flow, 1, flow, y, x, mask)[:, None]
    place = (item * size * size + pixel)[:, None] * channels + column[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=mask[:, None] & (column < channels)[None, :])


def fused_warp(
    feature: Float[Tensor, "b c s s"],
    grid: Float[Tensor, "b h w 2"],
    visibility: Float[Tensor, "b 1 h w"] | None = None,
    index: Int[Tensor, " t"] | None = None,
) -> Float[Tensor, "b c u u"]:
    """``occlude(warp(feature, grid), visibility)``, channels last; with ``index`` at those rows and columns alone."""
    batch, channels, side, _ = feature.shape
    flow = grid.shape[1]
    feature = by_pixel(feature)
    size = side if index is None else len(index)
    shape = (batch, channels, size, size)
    out = torch.empty(shape, dtype=feature.dtype, device=feature.device, memory_format=torch.channels_last)
    grid = grid.float().contiguous()
    visible = grid if visibility is None else visibility.float().contiguous()
    c, r = tile(channels)
    _warp_kernel[(batch, triton.cdiv(size * size, r))](
        feature, grid, visible, grid if index is None else index.int(), out,
        feature.stride(0), side, channels, flow, size, (flow - 1) / max(side - 1, 1),
        VISIBLE=visibility is not None, INDEXED=index is not None, R=r, C=c,
    )  # fmt: skip
    return out


@triton.jit
def _merge_kernel(pixels, bias, shares, out, size, channels, RECTIFIED: tl.constexpr, R: tl.constexpr, C: tl.constexpr):
    """The four neighbours of every output pixel lie side by side; each gets the bias and is rectified first, or not."""
    item = tl.program_id(0).to(tl.int64)
    pixel = tl.program_id(1) * R + tl.arange(0, R)
    mask = pixel < size * size
    y, x = pixel // size, pixel % size
    column = tl.arange(0, C)
    inside = column < channels
    known = mask[:, None] & inside[None, :]
    if RECTIFIED:
        offset = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    result = tl.zeros((R, C), tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            share = tl.load(shares + 2 * y + i, mask=mask, other=0.0)
            share *= tl.load(shares + 2 * x + j, mask=mask, other=0.0)
            place = (item * 2 * size + 2 * y + i) * 2 * size + 2 * x + j
            value = tl.load(pixels + place[:, None] * channels + column[None, :], mask=known, other=0.0).to(tl.float32)
            if RECTIFIED:
                value = tl.maximum(value + offset, 0.0)
            result += share[:, None] * value
    place = (item * size * size + pixel)[:, None] * channels + column[None, :]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=known)


def merged(
    pixels: Float[Tensor, "b t2 t2 c"], shares: Float[Tensor, "t 2"], bias: Float[Tensor, " c"] | None = None
) -> Float[Tensor, "b t t c"]:
    """``merge_taps(pixels)`` or, with a bias, of relu(pixels + bias); ``shares``: the weights that ``taps`` gives."""
    batch, _, _, channels = pixels.shape
    size = len(shares)
    out = pixels.new_empty(batch, size, size, channels)
    c, r = tile(channels)
    _merge_kernel[(batch, triton.cdiv(size * size, r))](
        pixels, pixels if bias is None else bias, shares.float().contiguous(), out, size, channels,
        RECTIFIED=bias is not None, R=r, C=c,
    )  # fmt: skip
    return out


def tile(channels: int) -> tuple[int, int]:
    """Channels and pixels of a program."""
    c: int = triton.next_power_of_2(channels)
    return c, max(4, _TILE // c)


def by_pixel(feature: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
    """Channels last without gaps; items may be one and the same (stride 0)."""
    channels, width = feature.shape[1], feature.shape[3]
    if feature.stride()[1:] == (1, width * channels, channels):
        return feature
    return feature.contiguous(memory_format=torch.channels_last)
