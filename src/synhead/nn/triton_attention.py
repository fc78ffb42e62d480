"""Attention of narrow heads as a Triton kernel, half precision; fused_attention.py gives it gradients.

Library kernels compute heads of 4 to 32 channels as if they had 64, and copy where queries share one context. Here a
head has 16 or 32, contexts and layouts are read as they lie, and ignored keys cost nothing beyond their mask.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from math import gcd

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

_WIDEST = 32  # from which the libraries' kernels are no worse
LOG2E = 1.4426950408889634
# Queries and keys a tile, warps, stages of the pipeline, by channels of a head: measured on an H200.
_TILES = {8: (128, 64, 8, 2), 16: (64, 64, 4, 3), 32: (128, 128, 4, 2)}
_TRAINING = (128, 64, 8, 3)  # of a batch, whose heads fill the GPU; not measured


@triton.jit
def load_rows(base, row, rows, step, width: tl.constexpr, D: tl.constexpr):
    """One head's channels of ``row``, rows ``step`` apart; zeros beyond the last one and the head."""
    channel = tl.arange(0, D)
    mask = (row < rows)[:, None] & (channel < width)[None, :]
    return tl.load(base + row[:, None] * step + channel[None, :], mask=mask, other=0.0)


@triton.jit
def store_rows(base, row, rows, step, values, width: tl.constexpr, D: tl.constexpr):
    """The reverse of load_rows."""
    channel = tl.arange(0, D)
    mask = (row < rows)[:, None] & (channel < width)[None, :]
    tl.store(base + row[:, None] * step + channel[None, :], values.to(base.dtype.element_ty), mask=mask)


@triton.jit
def _attention_kernel(
    query,
    key,
    value,
    ignored,
    out,
    sums,
    query_item,
    query_head,
    query_row,
    key_item,
    key_head,
    key_row,
    value_item,
    value_head,
    value_row,
    queries,
    keys,
    scale,
    width: tl.constexpr,
    HEADS: tl.constexpr,
    IGNORED: tl.constexpr,
    UNEVEN: tl.constexpr,
    SUMS: tl.constexpr,
    ALIGN: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    STAGES: tl.constexpr,
):
    """M queries of one head of one item; ``scale`` is that of a softmax to the base 2. Sums are float32."""
    item, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    row = tl.program_id(0) * M + tl.arange(0, M)
    query += item * query_item + tl.multiple_of(head * query_head, ALIGN)
    key += item * key_item + tl.multiple_of(head * key_head, ALIGN)
    value += item * value_item + tl.multiple_of(head * value_head, ALIGN)
    wanted = load_rows(query, row, queries, query_row, width, D)
    highest, total = tl.full((M,), -1e30, tl.float32), tl.zeros((M,), tl.float32)
    result = tl.zeros((M, D), tl.float32)
    for start in tl.range(0, keys, N, num_stages=STAGES):
        other = start + tl.arange(0, N)
        k = load_rows(key, other, keys, key_row, width, D)
        score = tl.dot(wanted, tl.trans(k), input_precision="ieee") * scale
        # Not minus infinity: a tile ignored as a whole is cancelled by the next one's maximum. Scaled here, for in the
        # exponent a fused product less a rounded one is no zero, but 1e21.
        if IGNORED:
            kept = tl.load(ignored + item * keys + other, mask=other < keys, other=1) == 0
            score = tl.where(kept[None, :], score, -1e30)
        if UNEVEN:
            score = tl.where((other < keys)[None, :], score, -1e30)
        new = tl.maximum(highest, tl.max(score, axis=1))
        share, fade = tl.exp2(score - new[:, None]), tl.exp2(highest - new)
        total = total * fade + tl.sum(share, axis=1)
        v = load_rows(value, other, keys, value_row, width, D)
        result = tl.dot(share.to(v.dtype), v, result * fade[:, None], input_precision="ieee")
        highest = new
    result /= total[:, None]
    store_rows(out + (item * queries * HEADS + head) * width, row, queries, HEADS * width, result, width, D)
    if SUMS:
        tl.store(sums + (item * HEADS + head) * queries + row, highest + tl.log2(total), mask=row < queries)


def attend_narrow(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "c heads m d"],
    value: Float[Tensor, "c heads m d"],
    scale: float,
    ignored: Bool[Tensor, "b m"] | None = None,
    sums: Float[Tensor, "b heads n"] | None = None,
) -> Float[Tensor, "b n hd"]:
    """Scaled dot-product attention, heads joined again. Key and value: of every item, or of all (c 1).

    ``ignored``: keys not attended to, never all of an item's. ``sums``, for gradients: takes the logarithm to the base
    2 of each query's sum of exponentials. Without it, heads wider than 32 channels go PyTorch's way.
    """
    batch, heads, queries, width = query.shape
    keys = key.shape[2]
    if width > _WIDEST:
        mask = None if ignored is None else ~ignored[:, None, None, :]
        attended = F.scaled_dot_product_attention(
            query, key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1), attn_mask=mask, scale=scale
        )
        return rearrange(attended, "b h n d -> b n (h d)")
    query, key, value = (part if part.stride(3) == 1 else part.contiguous() for part in (query, key, value))
    m, n, warps, stages = _TILES[min(size for size in _TILES if size >= width)] if sums is None else _TRAINING
    out = query.new_empty(batch, queries, heads * width)
    own = len(key) == batch  # else all items read the first one's
    # Heads of 4 and 8 channels: without being told, the compiler reads a channel at a time. Inference, whose tiles were
    # measured that way, is as it was.
    align = gcd(16, *(part.stride(1) for part in (query, key, value)))
    align = align if align == 16 or sums is not None else 1
    _attention_kernel[(triton.cdiv(queries, m), batch * heads)](
        query, key, value, query if ignored is None else ignored.contiguous().view(torch.uint8), out,
        query if sums is None else sums, *query.stride()[:3], own * key.stride(0), *key.stride()[1:3],
        own * value.stride(0), *value.stride()[1:3], queries, keys, scale * LOG2E,
        width=width, HEADS=heads, IGNORED=ignored is not None, UNEVEN=keys % n != 0, SUMS=sums is not None, ALIGN=align,
        M=m, N=n, D=max(16, triton.next_power_of_2(width)), STAGES=stages, num_warps=warps,
    )  # fmt: skip
    return out
