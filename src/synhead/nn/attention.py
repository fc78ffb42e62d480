"""Retrieval transformer layer (spec B.9): self-attention over tokens, cross-attention to codes, convolutional MLP."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.nn.blocks import conv3x3
from synhead.nn.conv import training_kernels
from synhead.nn.linear import Linear, add_position, linear
from synhead.nn.norm import normalise_rows

_NARROW = 32  # channels of a head up to which our kernel with gradients is the faster one
_HEAD = 8  # a head's channels are filled up to a multiple of this where kernels want them aligned


class MultiHeadAttention(nn.Module):
    """Attention with a packed input projection (rows query, key, value), as in ``torch.nn.MultiheadAttention``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj.weight)
        nn.init.zeros_(self.in_proj.bias)
        nn.init.zeros_(self.out_proj.bias)

    def _project(self, tokens: Float[Tensor, "*b n c"], start: int, parts: int) -> Float[Tensor, "*b heads n dp"]:
        """Rows ``start`` to ``start + parts`` (in widths) of the packed projection, split into heads."""
        width = tokens.shape[-1]
        rows = slice(start * width, (start + parts) * width)
        projected = F.linear(tokens, self.in_proj.weight[rows], self.in_proj.bias[rows])
        return rearrange(projected, "... n (p h d) -> ... h n (p d)", p=parts, h=self.heads)

    def memory(self, context: Float[Tensor, "m c"]) -> tuple[Float[Tensor, "heads m d"], Float[Tensor, "heads m d"]]:
        """Keys and values of a context shared by the batch; computed once, used at every scale."""
        if training_kernels(context) is None:
            key, value = self._project(context, 1, 2).chunk(2, dim=-1)
        else:
            width = context.shape[-1]
            packed = linear(context, self.in_proj.weight[width:], self.in_proj.bias[width:])
            key, value = rearrange(packed, "m (p h d) -> p h m d", p=2, h=self.heads)
        return key, value

    def self_attend(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        ignored: Bool[Tensor, "b n"] | None,
    ) -> Float[Tensor, "b n c"]:
        """Query = key = tokens + position, value = tokens; keys where ``ignored`` is true are not attended to."""
        if training_kernels(tokens) is not None:
            sizes = (2 * tokens.shape[-1], tokens.shape[-1])
            weights, biases = self.in_proj.weight.split(sizes), self.in_proj.bias.split(sizes)
            first = linear(add_position(tokens, position), weights[0], biases[0])
            second = linear(tokens, weights[1], biases[1])
            return self._out(attend_training(first, None, second, self.heads, ignored))
        query, key = self._project(tokens + position, 0, 2).chunk(2, dim=-1)
        value = self._project(tokens, 2, 1)
        mask = None if ignored is None else ~ignored[:, None, None, :]
        return self._merge(attend(query, key, value, mask))

    def cross_attend(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        key: Float[Tensor, "heads m d"],
        value: Float[Tensor, "heads m d"],
    ) -> Float[Tensor, "b n c"]:
        """Query = tokens + position; keys and values from :meth:`memory`, the same for the whole batch."""
        batch, _, width = tokens.shape
        if training_kernels(tokens) is not None:
            query = linear(add_position(tokens, position), self.in_proj.weight[:width], self.in_proj.bias[:width])
            return self._out(attend_training(query, key, value, self.heads))
        # One context for the batch: its tokens may as well be one long sequence, so that keys are read once.
        query = rearrange(self._project(tokens + position, 0, 1), "b h n d -> 1 h (b n) d")
        attended = attend(query, key[None].to(query.dtype), value[None].to(query.dtype))
        return self._merge(rearrange(attended, "1 h (b n) d -> b h n d", b=batch))

    def _merge(self, attended: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b n c"]:
        return self._out(rearrange(attended, "b h n d -> b n (h d)"))

    def _out(self, joined: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        out: Tensor = self.out_proj(joined)
        return out


class PositionedAttention(nn.Module):
    """MultiHeadAttention at positions that never change: projected once, and tokens go through a single product.

    For inference; the ``position`` that callers hand over must be the one given here.
    """

    folded: Tensor

    def __init__(self, plain: MultiHeadAttention, position: Float[Tensor, "n c"]) -> None:
        super().__init__()
        self.heads, self.in_proj, self.out_proj = plain.heads, plain.in_proj, plain.out_proj
        width = position.shape[-1]
        places = F.linear(
            position, self.in_proj.weight[: 2 * width]
        )  # queries and keys know their place, values do not
        self.register_buffer("folded", F.pad(places, (0, width)).detach())

    def self_attend(
        self, tokens: Float[Tensor, "b n c"], position: Float[Tensor, "n c"], ignored: Bool[Tensor, "b n"] | None
    ) -> Float[Tensor, "b n c"]:
        """See MultiHeadAttention."""
        del position
        packed = self.in_proj(tokens) + self.folded
        query, key, value = rearrange(packed, "b n (p h d) -> p b h n d", p=3, h=self.heads).contiguous()
        mask = None if ignored is None else ~ignored[:, None, None, :]
        return self._merge(attend(query, key, value, mask))

    def cross_attend(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        key: Float[Tensor, "heads m d"],
        value: Float[Tensor, "heads m d"],
    ) -> Float[Tensor, "b n c"]:
        """See MultiHeadAttention."""
        del position
        batch, _, width = tokens.shape
        query = F.linear(tokens, self.in_proj.weight[:width], self.in_proj.bias[:width]) + self.folded[:, :width]
        query = rearrange(query, "b n (h d) -> 1 h (b n) d", h=self.heads)
        attended = attend(query, key[None].to(query.dtype), value[None].to(query.dtype))
        return self._merge(rearrange(attended, "1 h (b n) d -> b h n d", b=batch))

    def _merge(self, attended: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b n c"]:
        out: Tensor = self.out_proj(rearrange(attended, "b h n d -> b n (h d)"))
        return out


@cache
def has_matrix_tiles() -> bool:
    """Whether this CPU multiplies bfloat16 by tiles (AMX), as far as PyTorch tells."""
    told = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(told is not None and told())


def attend(
    query: Float[Tensor, "b heads n d"],
    key: Float[Tensor, "b heads m d"],
    value: Float[Tensor, "b heads m d"],
    mask: Bool[Tensor, "b 1 1 m"] | None = None,
) -> Float[Tensor, "b heads n d"]:
    """Scaled dot-product attention; in half precision on a CPU head by head, where that beats the fused kernel.

    It does without matrix tiles (AMX): 5 to 10 ms for 8 heads of 1,024 tokens with them by the kernel, 6 to 15 by head.
    """
    by_head = query.device.type == "cpu" and query.dtype == torch.bfloat16 and torch.is_inference_mode_enabled()
    if not by_head or torch.compiler.is_compiling() or has_matrix_tiles():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    scores = query.new_empty(query.shape[2], key.shape[2])  # one buffer for all heads: it stays in the cache
    for item in range(query.shape[0]):
        for head in range(query.shape[1]):
            torch.mm(query[item, head] * query.shape[-1] ** -0.5, key[item, head].T, out=scores)
            if mask is not None:
                scores.masked_fill_(~mask[item, 0], -torch.inf)
            torch.softmax(scores, -1, out=scores)
            torch.mm(scores, value[item, head], out=out[item, head])
    return out


def attend_training(
    first: Float[Tensor, "b n e"],
    key: Float[Tensor, "heads m d"] | None,
    value: Float[Tensor, "b n c"] | Float[Tensor, "heads m d"],
    heads: int,
    ignored: Bool[Tensor, "b n"] | None = None,
) -> Float[Tensor, "b n c"]:
    """Attention with gradients where kernels apply, heads joined again.

    Over tokens themselves ``first`` is queries beside keys (b n 2c), ``key`` None, ``value`` (b n c); over a context of
    the whole batch it is queries (b n c), ``key`` and ``value`` (heads m d).
    """
    value = value.to(first.dtype)
    key = None if key is None else key.to(first.dtype)
    if first.shape[-1] // heads <= (_NARROW if key is not None else 2 * _NARROW):
        from synhead.nn.fused_attention import NarrowAttention  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = NarrowAttention.apply(first, key, value, heads, ignored)  # type: ignore[no-untyped-call]
        return out
    if key is None:
        query, key = rearrange(first, "b n (p h d) -> p b h n d", p=2, h=heads)
        value = rearrange(value, "b n (h d) -> b h n d", h=heads)
    else:
        query = rearrange(first, "b n (h d) -> b h n d", h=heads)
        # Of every item: the libraries' backward divides its work by items and keys, not by queries.
        key, value = (part.expand(len(first), -1, -1, -1) for part in (key, value))
    mask = None if ignored is None else ~ignored[:, None, None, :]
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return rearrange(attended, "b h n d -> b n (h d)")


class RetrievalLayer(nn.Module):
    """Pre-norm layer: self-attention, cross-attention to the codes, 3 x 3 convolutions on the token grid."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(width, heads)
        self.cross_attention = MultiHeadAttention(width, heads)
        self.conv1 = conv3x3(width, 2 * width)
        self.conv2 = conv3x3(2 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def memory(self, context: Float[Tensor, "m c"]) -> tuple[Float[Tensor, "heads m d"], Float[Tensor, "heads m d"]]:
        """Keys and values of the codes, for the cross-attention."""
        return self.cross_attention.memory(context)

    def forward(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        memory: tuple[Tensor, Tensor],
        ignored: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        tokens = tokens + self.self_attention.self_attend(normalise_rows(self.norm1, tokens), position, ignored)
        tokens = tokens + self.cross_attention.cross_attend(normalise_rows(self.norm2, tokens), position, *memory)
        side = round(tokens.shape[1] ** 0.5)
        image = rearrange(normalise_rows(self.norm3, tokens), "b (h w) c -> b c h w", h=side)
        mixed = self.conv2(F.gelu(self.conv1(image)))
        return tokens + rearrange(mixed, "b c h w -> b (h w) c")


def attendable(ignored: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """The mask itself, but for items of which every token is ignored: those attend everywhere (no NaN)."""
    return ignored & ~torch.all(ignored, dim=1, keepdim=True)


def padded_heads(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
    """Zeros behind the last dimension up to a multiple of eight; itself if it is one."""
    missing = -x.shape[-1] % _HEAD
    return F.pad(x, (0, missing)) if missing else x
