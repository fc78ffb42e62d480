"""Attention of narrow heads with gradients as Triton kernels: half precision, sums in float32.

Library kernels compute heads of 4 to 32 channels as if they had 64, and divide the work of their backward by keys,
which are few where a batch shares one context. Projections are read and gradients written as they lie in memory. No
sum depends on the order in which programs run: one kernel goes through the keys of some queries, one the reverse.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, type-arg"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from einops import rearrange
from torch import Tensor

from synhead.nn.triton_attention import LOG2E, attend_narrow, load_rows, store_rows

# Queries and keys a tile, warps, stages of the pipeline. Not measured: chosen by what the compiler says of registers
# for an H200, so that two programs or more of eight warps share a processor, for exponentials take most of the time.
_QUERY_TILES = (128, 64, 8, 2)
_KEY_TILES = (32, 128, 8, 3)


@triton.jit
def _query_kernel(
    query,
    key,
    value,
    ignored,
    out,
    gradient,
    sums,
    deltas,
    dquery,
    query_row,
    key_row,
    value_row,
    queries,
    keys,
    scale,
    width: tl.constexpr,
    HEADS: tl.constexpr,
    OWN: tl.constexpr,
    IGNORED: tl.constexpr,
    UNEVEN: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Gradients of M queries of one head of one item; ``deltas``: each query's sum of out times its gradient.

    ``scale`` is that of a softmax to the base 2. OWN: keys and values are the item's own, else the same for all.
    """
    item, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    row = tl.program_id(0) * M + tl.arange(0, M)
    source, target = item * keys * OWN, item * queries
    q = load_rows(query + target * query_row + head * width, row, queries, query_row, width, D)
    down = load_rows(gradient + (target * HEADS + head) * width, row, queries, HEADS * width, width, D)
    made = load_rows(out + (target * HEADS + head) * width, row, queries, HEADS * width, width, D)
    delta = tl.sum(made.to(tl.float32) * down.to(tl.float32), axis=1)
    place = target * HEADS + head * queries + row
    tl.store(deltas + place, delta, mask=row < queries)
    total = tl.load(sums + place, mask=row < queries, other=0.0)
    result = tl.zeros((M, D), tl.float32)
    for start in tl.range(0, keys, N, num_stages=STAGES):
        other = start + tl.arange(0, N)
        k = load_rows(key + source * key_row + head * width, other, keys, key_row, width, D)
        v = load_rows(value + source * value_row + head * width, other, keys, value_row, width, D)
        share = tl.exp2(tl.dot(q, tl.trans(k), input_precision="ieee") * scale - total[:, None])
        # Where they are outside the sum, shares may be infinite.
        if IGNORED:
            lost = tl.load(ignored + item * keys + other, mask=other < keys, other=1)
            share = tl.where((lost == 0)[None, :], share, 0.0)
        if UNEVEN:
            share = tl.where((other < keys)[None, :], share, 0.0)
        slope = share * (tl.dot(down, tl.trans(v), input_precision="ieee") - delta[:, None])
        result = tl.dot(slope.to(k.dtype), k, result, input_precision="ieee")
    result *= scale * 0.6931471805599453  # to the base e again
    store_rows(dquery + target * query_row + head * width, row, queries, query_row, result, width, D)


@triton.jit
def _key_kernel(
    query,
    key,
    value,
    ignored,
    gradient,
    sums,
    deltas,
    dkey,
    dvalue,
    query_row,
    key_row,
    value_row,
    dkey_row,
    dvalue_row,
    queries,
    keys,
    scale,
    width: tl.constexpr,
    HEADS: tl.constexpr,
    OWN: tl.constexpr,
    IGNORED: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Gradients of N keys and values of one head, as far as they come from the queries of one item.

    Tiles are keys by queries. Ignored keys and those beyond the last one concern their own rows only.
    """
    item, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    row = tl.program_id(0) * N + tl.arange(0, N)
    source, target, made = item * queries, item * keys * OWN, item * keys
    k = load_rows(key + target * key_row + head * width, row, keys, key_row, width, D)
    v = load_rows(value + target * value_row + head * width, row, keys, value_row, width, D)
    dk, dv = tl.zeros((N, D), tl.float32), tl.zeros((N, D), tl.float32)
    for start in tl.range(0, queries, M, num_stages=STAGES):
        other = start + tl.arange(0, M)
        place = source * HEADS + head * queries + other
        q = load_rows(query + source * query_row + head * width, other, queries, query_row, width, D)
        down = load_rows(gradient + (source * HEADS + head) * width, other, queries, HEADS * width, width, D)
        total = tl.load(sums + place, mask=other < queries, other=0.0)
        delta = tl.load(deltas + place, mask=other < queries, other=0.0)
        share = tl.exp2(tl.dot(k, tl.trans(q), input_precision="ieee") * scale - total[None, :])
        dv = tl.dot(share.to(down.dtype), down, dv, input_precision="ieee")
        slope = share * (tl.dot(v, tl.trans(down), input_precision="ieee") - delta[None, :])
        dk = tl.dot(slope.to(q.dtype), q, dk, input_precision="ieee")
    dk *= scale * 0.6931471805599453  # to the base e again
    if IGNORED:
        lost = tl.load(ignored + item * keys + row, mask=row < keys, other=1)
        dk = tl.where((lost == 0)[:, None], dk, 0.0)
        dv = tl.where((lost == 0)[:, None], dv, 0.0)
    store_rows(dkey + made * dkey_row + head * width, row, keys, dkey_row, dk, width, D)
    store_rows(dvalue + made * dvalue_row + head * width, row, keys, dvalue_row, dv, width, D)


def _views(first: Tensor, key: Tensor | None, value: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Query (b h n d), key and value (b h m d) or (1 h m d)."""
    if key is not None:
        return rearrange(first, "b n (h d) -> b h n d", h=heads), key[None], value[None]
    query, own = rearrange(first, "b n (p h d) -> p b h n d", p=2, h=heads)
    return query, own, rearrange(value, "b n (h d) -> b h n d", h=heads)


def _by_row(x: Tensor) -> Tensor:
    """(heads m d) whose rows have their heads side by side, as a projection leaves them."""
    rows = rearrange(x, "h m d -> m h d")
    if rows.stride()[1:] != (x.shape[2], 1):
        rows = rows.contiguous()
    return rearrange(rows, "m h d -> h m d")


class NarrowAttention(torch.autograd.Function):
    """``apply(first, key, value, heads, ignored)`` to (b n c), heads joined; heads of up to 32 channels.

    Over its own tokens: ``first`` (b n 2c) is queries beside keys, ``key`` None, ``value`` (b n c). Over a context of
    the whole batch: ``first`` (b n c) is queries, ``key`` and ``value`` (heads m d). ``ignored`` (b m) or None: keys
    not attended to, never all of an item's.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, key: Tensor | None, value: Tensor, heads: int, ignored: Tensor | None
    ) -> Tensor:
        first = first.contiguous()
        key, value = (None, value.contiguous()) if key is None else (_by_row(key), _by_row(value))
        views = _views(first, key, value, heads)
        batch, _, queries, width = views[0].shape
        sums = torch.empty(batch, heads, queries, dtype=torch.float32, device=first.device)
        ignored = None if ignored is None else ignored.contiguous()
        out = attend_narrow(*views, width**-0.5, ignored, sums)
        ctx.save_for_backward(first, key, value, ignored, out, sums)
        ctx.heads = heads
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, key, value, ignored, out, sums = ctx.saved_tensors
        views, made = _views(first, key, value, ctx.heads), (out, gradients[0].contiguous(), sums)
        batch, _, wide = out.shape
        if key is None:
            dfirst, dvalue = torch.empty_like(first), torch.empty_like(out)
            _differentiate(views, ignored, made, (dfirst, dfirst[:, :, wide:], dvalue))
            return dfirst, None, dvalue, None, None
        dfirst = torch.empty_like(out)
        parts = torch.empty(2, batch, key.shape[1], wide, dtype=torch.float32, device=out.device)
        _differentiate(views, ignored, made, (dfirst, parts[0], parts[1]))
        dkey, dvalue = rearrange(parts.sum(dim=1), "p m (h d) -> p h m d", h=ctx.heads)
        return dfirst, dkey.to(key.dtype), dvalue.to(value.dtype), None, None


def _differentiate(
    views: tuple[Tensor, Tensor, Tensor],
    ignored: Tensor | None,
    made: tuple[Tensor, Tensor, Tensor],
    wanted: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Fill ``wanted``: gradients of queries (where those lie in ``views``), keys and values (b m c), rows evenly apart.

    ``made``: the result, its gradient, the queries' sums.
    """
    query, key, value = views
    out, gradient, sums = made
    dquery, dkey, dvalue = wanted
    batch, heads, queries, width = query.shape
    keys = key.shape[2]
    steps = [part.stride(2) for part in views]
    deltas = torch.empty_like(sums)
    mask = query if ignored is None else ignored.view(torch.uint8)
    scale, channels = width**-0.5 * LOG2E, max(16, triton.next_power_of_2(width))
    m, n, warps, stages = _QUERY_TILES
    _query_kernel[(triton.cdiv(queries, m), batch * heads)](
        query, key, value, mask, out, gradient, sums, deltas, dquery, *steps, queries, keys, scale,
        width=width, HEADS=heads, OWN=len(key) == batch, IGNORED=ignored is not None, UNEVEN=keys % n != 0,
        M=m, N=n, D=channels, STAGES=stages, num_warps=warps,
    )  # fmt: skip
    m, n, warps, stages = _KEY_TILES
    _key_kernel[(triton.cdiv(keys, n), batch * heads)](
        query, key, value, mask, gradient, sums, deltas, dkey, dvalue, *steps, dkey.stride(1), dvalue.stride(1),
        queries, keys, scale, width=width, HEADS=heads, OWN=len(key) == batch, IGNORED=ignored is not None,
        M=m, N=n, D=channels, STAGES=stages, num_warps=warps,
    )  # fmt: skip
