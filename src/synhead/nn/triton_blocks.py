"""Blocks on the Triton kernels: what the plain ones give, up to rounding. Half precision, inference only.

Pictures are channels last throughout; :func:`rows` shows one as (b h w c) without copying, :func:`picture` undoes it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.nn.attention import PositionedAttention, RetrievalLayer, padded_heads
from synhead.nn.blocks import AttentionBlock, ResBlock
from synhead.nn.fast_conv import PhaseUpsample
from synhead.nn.fused_norm import group_norm
from synhead.nn.triton_kernels import Activation, add_norm, add_table, join_phases

__all__ = [
    "BiasedConv2d",
    "TritonAttentionBlock",
    "TritonPhaseUpsample",
    "TritonResBlock",
    "TritonRetrievalLayer",
    "picture",
    "rows",
    "unbiased",
]


def rows(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w c"]:
    """A picture as its pixels lie in memory; copied if it is not channels last."""
    return rearrange(x.contiguous(memory_format=torch.channels_last), "b c h w -> b h w c")


def picture(x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b c h w"]:
    """The view that convolutions take."""
    return rearrange(x, "b h w c -> b c h w")


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
    """The convolution without its bias."""
    return F.conv2d(x.to(conv.weight.dtype), conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


class BiasedConv2d(nn.Module):
    """A convolution, its bias and an activation in one pass."""

    def __init__(self, plain: nn.Conv2d, activation: Activation = "none") -> None:
        super().__init__()
        assert plain.bias is not None
        self.plain, self.activation = plain, activation

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        assert self.plain.bias is not None
        return picture(add_table(rows(unbiased(self.plain, x)), self.plain.bias, activation=self.activation))


class TritonResBlock(nn.Module):
    """``ResBlock``: the first bias is added by the second norm, the second one by the sum."""

    bias: Tensor

    def __init__(self, plain: ResBlock) -> None:
        super().__init__()
        self.plain = plain
        assert plain.conv2.bias is not None
        bias = plain.conv2.bias.detach().float()
        if isinstance(plain.shortcut, nn.Conv2d):
            assert plain.shortcut.bias is not None
            bias = bias + plain.shortcut.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        plain = self.plain
        x = x.to(plain.conv1.weight.dtype).contiguous(memory_format=torch.channels_last)
        hidden = unbiased(plain.conv1, group_norm(plain.norm1, x, swish=True))
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        hidden = group_norm(plain.norm2, hidden, swish=True, before=plain.conv1.bias, inplace=True)
        shortcut = rows(x)
        if isinstance(plain.shortcut, nn.Conv2d):
            shortcut = F.linear(shortcut, plain.shortcut.weight.flatten(1))
        return picture(add_table(rows(unbiased(plain.conv2, hidden)), self.bias, other=shortcut))


class TritonPhaseUpsample(nn.Module):
    """``PhaseUpsample`` that puts the phases in their places in one pass."""

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: PhaseUpsample) -> None:
        super().__init__()
        self.register_buffer("weight", plain.weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", plain.bias[: plain.channels].clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        phases = F.conv2d(x.to(self.weight.dtype), self.weight, None, padding=1)
        return picture(join_phases(rows(phases), self.bias))


class TritonAttentionBlock(nn.Module):
    """``AttentionBlock`` with one product for query, key and value."""

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: AttentionBlock) -> None:
        super().__init__()
        self.norm, self.out = plain.norm, plain.out
        parts = (plain.query, plain.key, plain.value)
        self.register_buffer("weight", torch.cat([part.weight.detach().flatten(1) for part in parts]))
        self.register_buffer("bias", torch.cat([part.bias.detach() for part in parts if part.bias is not None]))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x.to(self.weight.dtype).contiguous(memory_format=torch.channels_last)
        hidden = F.linear(rows(group_norm(self.norm, x, swish=False)), self.weight, self.bias)
        query, key, value = rearrange(hidden, "b h w (p c) -> p b 1 (h w) c", p=3)
        attended = F.scaled_dot_product_attention(query, key, value)
        out = F.linear(rearrange(attended, "b 1 (h w) c -> b h w c", h=x.shape[2]), self.out.weight.flatten(1))
        assert self.out.bias is not None
        return picture(add_table(out, self.out.bias, other=rows(x)))


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
        mask = None if ignored is None else ~ignored[:, None, None, :]
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)
        return F.linear(rearrange(attended, "b h n d -> b n (h d)"), self.out)

    def cross_attend(
        self, tokens: Float[Tensor, "b n c"], key: Float[Tensor, "heads m d"], value: Float[Tensor, "heads m d"]
    ) -> Float[Tensor, "b n c"]:
        """Without the output's bias. One context for the batch: its tokens are one long sequence."""
        packed = add_table(F.linear(tokens, self.weight[: len(self.weight) // 3]), self.query_table)
        query = rearrange(packed, "b n (h d) -> 1 h (b n) d", h=self.heads)
        key, value = padded_heads(key.to(query.dtype)), padded_heads(value.to(query.dtype))
        attended = F.scaled_dot_product_attention(query, key[None], value[None], scale=self.scale)
        return F.linear(rearrange(attended, "1 h (b n) d -> b n (h d)", b=len(tokens)), self.out)


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
        _, normed = add_norm(plain.norm1, tokens)
        tokens, normed = add_norm(plain.norm2, tokens, (own.self_attend(normed, ignored), own.out_bias))
        tokens, normed = add_norm(plain.norm3, tokens, (cross.cross_attend(normed, *memory), cross.out_bias))
        side = round(tokens.shape[1] ** 0.5)
        assert plain.conv1.bias is not None
        assert plain.conv2.bias is not None
        hidden = rows(unbiased(plain.conv1, rearrange(normed, "b (h w) c -> b c h w", h=side)))
        hidden = add_table(hidden, plain.conv1.bias, activation="gelu")
        mixed = rearrange(rows(unbiased(plain.conv2, picture(hidden))), "b h w c -> b (h w) c")
        return add_table(mixed, plain.conv2.bias, other=tokens)
