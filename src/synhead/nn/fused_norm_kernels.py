"""The Triton kernels of :mod:`synhead.nn.fused_norm`."""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def partials_kernel(
    x,
    dz_or_x,
    gain,
    offset,
    parts,
    pixels,
    channels,
    dz_row,
    PART: tl.constexpr,
    SWISH: tl.constexpr,
    BACKWARD: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Per (item, part) and channel: sums of x and x^2 (forward) or of dz and dz * x (backward).

    ``dz_row``: values from one pixel of dz to the next.
    """
    item, part = tl.program_id(0), tl.program_id(1)
    column = tl.arange(0, C)
    inside = column < channels
    first, second = tl.zeros((R, C), tl.float32), tl.zeros((R, C), tl.float32)
    if BACKWARD:
        a = tl.load(gain + item * channels + column, mask=inside, other=0.0)
        b = tl.load(offset + item * channels + column, mask=inside, other=0.0)
    for start in range(0, PART, R):
        row = part * PART + start + tl.arange(0, R)
        mask = (row < pixels)[:, None] & inside[None, :]
        pixel = (item.to(tl.int64) * pixels + row)[:, None]
        value = tl.load(x + pixel * channels + column[None, :], mask=mask, other=0.0).to(tl.float32)
        if BACKWARD:
            grad = tl.load(dz_or_x + pixel * dz_row + column[None, :], mask=mask, other=0.0).to(tl.float32)
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
def _totals(parts, item, group, count, channels, size, P: tl.constexpr, G: tl.constexpr):
    """A group's channels, which of them are real, and their two sums over all parts."""
    member = tl.arange(0, G)
    inside = member < size
    column = group * size + member
    part = tl.arange(0, P)
    place = parts + ((item * count + part)[:, None] * 2) * channels + column[None, :]
    mask = (part < count)[:, None] & inside[None, :]
    first = tl.sum(tl.load(place, mask=mask, other=0.0), axis=0)
    second = tl.sum(tl.load(place + channels, mask=mask, other=0.0), axis=0)
    return column, inside, first, second


@triton.jit
def statistics_kernel(
    parts,
    before,
    weight,
    bias,
    gain,
    offset,
    mean_out,
    rstd_out,
    sum_out,
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
    """Per (item, group), from x's partial sums: mean and 1/std of x + before, its channels' sums, gains and offsets."""
    item, group = tl.program_id(0), tl.program_id(1)
    column, inside, first, second = _totals(parts, item, group, count, channels, size, P, G)
    shift = tl.zeros((G,), tl.float32)
    if BEFORE:  # sums of x + before in closed form
        shift = tl.load(before + column, mask=inside, other=0.0).to(tl.float32)
        second += shift * (2 * first + pixels * shift)
        first += pixels * shift
    mean = tl.sum(first, axis=0) / total
    rstd = 1 / tl.sqrt(tl.maximum(tl.sum(second, axis=0) / total - mean * mean, 0.0) + eps)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(sum_out + item * channels + column, first, mask=inside)
    tl.store(gain + item * channels + column, w * rstd, mask=inside)
    tl.store(offset + item * channels + column, b + (shift - mean) * rstd * w, mask=inside)
    tl.store(mean_out + item * tl.num_programs(1) + group, mean)
    tl.store(rstd_out + item * tl.num_programs(1) + group, rstd)


@triton.jit
def coefficients_kernel(
    parts,
    before,
    weight,
    mean_in,
    rstd_in,
    sum_in,
    slope,
    shift,
    dweight,
    dbias,
    dbefore,
    count,
    channels,
    size,
    pixels,
    total,
    BEFORE: tl.constexpr,
    P: tl.constexpr,
    G: tl.constexpr,
):
    """Per (item, group): dx = gain * dz + slope * x + shift, and this item's share of the affine gradients."""
    item, group = tl.program_id(0), tl.program_id(1)
    column, inside, first, second = _totals(parts, item, group, count, channels, size, P, G)
    mean = tl.load(mean_in + item * tl.num_programs(1) + group)
    rstd = tl.load(rstd_in + item * tl.num_programs(1) + group)
    w = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    if BEFORE:
        added = tl.load(before + column, mask=inside, other=0.0).to(tl.float32)
        second += added * first
    own = rstd * (second - mean * first)
    a = tl.sum(w * first, axis=0) / total
    b = tl.sum(w * own, axis=0) / total
    ones = tl.full((G,), 1.0, tl.float32)
    steep, level = ones * (-rstd * rstd * b), ones * (rstd * rstd * b * mean - rstd * a)
    if BEFORE:  # the gradient of x, summed over the pixels in closed form
        sums = tl.load(sum_in + item * channels + column, mask=inside, other=0.0)
        tl.store(dbefore + item * channels + column, w * rstd * first + steep * sums + pixels * level, mask=inside)
        level += steep * added
    tl.store(slope + item * channels + column, steep, mask=inside)
    tl.store(shift + item * channels + column, level, mask=inside)
    tl.store(dweight + item * channels + column, own, mask=inside)
    tl.store(dbias + item * channels + column, first, mask=inside)


@triton.jit
def apply_kernel(
    x,
    dy,
    through,
    out,
    gain,
    offset,
    slope,
    shift,
    pixels,
    channels,
    dy_row,
    through_row,
    out_row,
    SWISH: tl.constexpr,
    BACKWARD: tl.constexpr,
    THROUGH: tl.constexpr,
    R: tl.constexpr,
    C: tl.constexpr,
):
    """Forward: y = swish(x * gain + offset). Backward: dx = gain * dz + slope * x + shift [+ through].

    ``dy_row``, ``through_row``, ``out_row``: values from one pixel to the next.
    """
    item = tl.program_id(0)
    row = tl.program_id(1) * R + tl.arange(0, R)
    column = tl.arange(0, C)
    inside = column < channels
    mask = (row < pixels)[:, None] & inside[None, :]
    pixel = (item.to(tl.int64) * pixels + row)[:, None]
    value = tl.load(x + pixel * channels + column[None, :], mask=mask, other=0.0).to(tl.float32)
    a = tl.load(gain + item * channels + column, mask=inside, other=0.0)[None, :]
    b = tl.load(offset + item * channels + column, mask=inside, other=0.0)[None, :]
    z = value * a + b
    if BACKWARD:
        grad = tl.load(dy + pixel * dy_row + column[None, :], mask=mask, other=0.0).to(tl.float32)
        if SWISH:
            s = tl.sigmoid(z)
            grad = grad * s * (1 + z * (1 - s))
        c = tl.load(slope + item * channels + column, mask=inside, other=0.0)[None, :]
        d = tl.load(shift + item * channels + column, mask=inside, other=0.0)[None, :]
        result = a * grad + c * value + d
        if THROUGH:
            result += tl.load(through + pixel * through_row + column[None, :], mask=mask, other=0.0).to(tl.float32)
    elif SWISH:
        result = z * tl.sigmoid(z)
    else:
        result = z
    tl.store(out + pixel * out_row + column[None, :], result.to(out.dtype.element_ty), mask=mask)
