"""Attention of narrow heads as a Triton kernel: half precision, inference only.

Library kernels compute heads of 4 to 32 channels as if they had 64, and copy where queries share one context. Here a
head has 16 or 32, contexts and layouts are read as they lie, and ignored keys cost nothing beyond their mask.
"""

# Triton's language is dynamic: its kernels are outside the type checker's reach.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["attend_narrow"]

_WIDEST = 32  # from which the libraries' kernels are no worse
_LOG2E = 1.4426950408889634
# Queries and keys a tile, warps, stages of the pipeline, by channels of a head: measured on an H200.
_TILES = {8: (128, 64, 8, 2), 16: (64, 64, 4, 3), 32: (128, 128, 4, 2)}


@triton.jit
def _attention_kernel(
    query,
    key,
    value,
    ignored,
    out,
    query_item,
    query_head,
    query_row,
    key_item,
    key_head,
    key_row,
    queries,
    keys,
    scale,
    width: tl.constexpr,
    HEADS: tl.constexpr,
    IGNORED: tl.constexpr,
    UNEVEN: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
    D: tl.constexpr,
    STAGES: tl.constexpr,
):
    """M queries of one head of one item; ``scale`` is that of a softmax to the base 2. Sums are float32."""
    item, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    row, channel = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, D)
    real = channel < width
    known = (row < queries)[:, None] & real[None, :]
    place = query + item * query_item + head * query_head + row[:, None] * query_row + channel[None, :]
    wanted = tl.load(place, mask=known, other=0.0)
    highest, total = tl.full((M,), -1e30, tl.float32), tl.zeros((M,), tl.float32)
    result = tl.zeros((M, D), tl.float32)
    base = item * key_item + head * key_head
    for start in tl.range(0, keys, N, num_stages=STAGES):
        other = start + tl.arange(0, N)
        there = other < keys
        mask = there[:, None] & real[None, :]
        k = tl.load(key + base + other[:, None] * key_row + channel[None, :], mask=mask, other=0.0)
        score = tl.dot(wanted, tl.trans(k), input_precision="ieee")
        # Not minus infinity: where a whole tile is ignored, its own ones are cancelled by the next tile's maximum.
        if IGNORED:
            lost = tl.load(ignored + item * keys + other, mask=there, other=1)
            score = tl.where((lost == 0)[None, :], score, -1e30)
        if UNEVEN:
            score = tl.where(there[None, :], score, -1e30)
        new = tl.maximum(highest, tl.max(score, axis=1))
        share = tl.exp2(score * scale - (new * scale)[:, None])
        fade = tl.exp2((highest - new) * scale)
        total = total * fade + tl.sum(share, axis=1)
        v = tl.load(value + base + other[:, None] * key_row + channel[None, :], mask=mask, other=0.0)
        result = tl.dot(share.to(v.dtype), v, result * fade[:, None], input_precision="ieee")
        highest = new
    place = ((item * queries + row[:, None]) * HEADS + head) * width + channel[None, :]
    tl.store(out + place, (result / total[:, None]).to(out.dtype.element_ty), mask=known)


def attend_narrow(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "c heads m d"],
    value: Float[Tensor, "c heads m d"],
    scale: float,
    ignored: Bool[Tensor, "b m"] | None = None,
) -> Float[Tensor, "b n hd"]:
    """Scaled dot-product attention, heads joined again. Key and value (laid out alike): of every item, or of all (c 1).

    ``ignored``: keys not attended to, never all of an item's. Heads wider than 32 channels go PyTorch's way.
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
    if key.stride() != value.stride():
        key, value = key.contiguous(), value.contiguous()
    m, n, warps, stages = _TILES[min(size for size in _TILES if size >= width)]
    out = query.new_empty(batch, queries, heads * width)
    item = key.stride(0) if len(key) == batch else 0
    _attention_kernel[(triton.cdiv(queries, m), batch * heads)](
        query, key, value, query if ignored is None else ignored.contiguous().view(torch.uint8), out,
        *query.stride()[:3], item, *key.stride()[1:3], queries, keys, scale * _LOG2E,
        width=width, HEADS=heads, IGNORED=ignored is not None, UNEVEN=keys % n != 0,
        M=m, N=n, D=max(16, triton.next_power_of_2(width)), STAGES=stages, num_warps=warps,
    )  # fmt: skip
    return out
