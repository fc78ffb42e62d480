"""The retrieval transformer's layer on the Triton kernels: what the plain one gives, up to rounding; half precision."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.nn.attention import PositionedAttention, RetrievalLayer, padded_heads
from synhead.nn.triton_attention import attend_narrow
from synhead.nn.triton_blocks import picture, rows, unbiased
from synhead.nn.triton_kernels import add_norm, add_table


class _PaddedAttention(nn.Module):
    """PositionedAttention whose heads have a multiple of eight channels, those added being zero."""

    weight: Tensor
    packed_table: Tensor
    query_table: Tensor
    out: Tensor
    out_bias: Tensor

    def __init__(self, plain: PositionedAttention) -> None:
        super().__init__()
        self.heads, width = plain.heads, plain.in_proj.in_features
        self.scale = (width // self.heads) ** -0.5
        weight, bias = plain.in_proj.weight.detach(), plain.in_proj.bias.detach()
        spread = rearrange(
            padded_heads(rearrange(weight, "(p h d) c -> p h c d", p=3, h=self.heads)), "p h c d -> (p h d) c"
        )
        self.register_buffer("weight", spread.contiguous())
        table = rearrange(plain.folded.float() + bias.float(), "n (p h d) -> p n h d", p=3, h=self.heads)
        table = padded_heads(table)
        self.register_buffer("packed_table", rearrange(table, "p n h d -> (n p h d)").contiguous())
        self.register_buffer("query_table", rearrange(table[0], "n h d -> (n h d)").contiguous())
        out = rearrange(plain.out_proj.weight.detach(), "c (h d) -> c h d", h=self.heads)
        self.register_buffer("out", rearrange(padded_heads(out), "c h d -> c (h d)").contiguous())
        self.register_buffer("out_bias", plain.out_proj.bias.detach())

    def self_attend(
        self, tokens: Float[Tensor, "b n c"], ignored: Bool[Tensor, "b n"] | None
    ) -> Float[Tensor, "b n c"]:
        """Without the output's bias."""
        packed = add_table(F.linear(tokens, self.weight), self.packed_table)
        query, key, value = rearrange(packed, "b n (p h d) -> p b h n d", p=3, h=self.heads)
        return F.linear(attend_narrow(query, key, value, self.scale, ignored), self.out)

    def cross_attend(
        self, tokens: Float[Tensor, "b n c"], key: Float[Tensor, "heads m d"], value: Float[Tensor, "heads m d"]
    ) -> Float[Tensor, "b n c"]:
        """Without the output's bias. One context for the batch."""
        packed = add_table(F.linear(tokens, self.weight[: len(self.weight) // 3]), self.query_table)
        query = rearrange(packed, "b n (h d) -> b h n d", h=self.heads)
        key, value = padded_heads(key.to(query.dtype)), padded_heads(value.to(query.dtype))
        return F.linear(attend_narrow(query, key[None], value[None], self.scale), self.out)


class TritonRetrievalLayer(nn.Module):
    """``RetrievalLayer`` on projected positions: sums, biases and the norms after them in one pass each."""

    def __init__(self, plain: RetrievalLayer) -> None:
        super().__init__()
        assert isinstance(plain.self_attention, PositionedAttention)
        assert isinstance(plain.cross_attention, PositionedAttention)
        self.plain = plain
        self.self_attention = _PaddedAttention(plain.self_attention)
        self.cross_attention = _PaddedAttention(plain.cross_attention)

    def forward(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        memory: tuple[Tensor, Tensor],
        ignored: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """See RetrievalLayer; ``position`` is the one that was folded in."""
        del position
        plain, own, cross = self.plain, self.self_attention, self.cross_attention
        tokens = tokens.to(own.weight.dtype).contiguous()
        _, normed = add_norm(_affine(plain.norm1), tokens)
        tokens, normed = add_norm(_affine(plain.norm2), tokens, (own.self_attend(normed, ignored), own.out_bias))
        tokens, normed = add_norm(_affine(plain.norm3), tokens, (cross.cross_attend(normed, *memory), cross.out_bias))
        side = round(tokens.shape[1] ** 0.5)
        assert plain.conv1.bias is not None
        assert plain.conv2.bias is not None
        hidden = rows(unbiased(plain.conv1, rearrange(normed, "b (h w) c -> b c h w", h=side)))
        hidden = add_table(hidden, plain.conv1.bias, activation="gelu")
        mixed = rearrange(rows(unbiased(plain.conv2, picture(hidden))), "b h w c -> b (h w) c")
        return add_table(mixed, plain.conv2.bias, other=tokens)


def _affine(norm: nn.LayerNorm) -> tuple[Tensor, Tensor, float]:
    return norm.weight, norm.bias, norm.eps
