"""The retrieval transformer's attention on the native kernel, in float32. Inference on a CPU only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.nn.attention import PositionedAttention
from synhead.nn.native import AttentionJob, Kernels


class NativeAttention(nn.Module):
    """PositionedAttention with the scale in the weights; queries, keys and values are read where they lie."""

    weight: Tensor
    bias: Tensor
    folded: Tensor

    def __init__(self, plain: PositionedAttention, kernels: Kernels) -> None:
        super().__init__()
        self.heads, self.out_proj, self.kernels = plain.heads, plain.out_proj, kernels
        width = plain.out_proj.in_features
        scale = torch.ones(3 * width)
        scale[:width] = (width // plain.heads) ** -0.5
        self.register_buffer("weight", plain.in_proj.weight.detach() * scale[:, None])
        self.register_buffer("bias", plain.in_proj.bias.detach() * scale)
        self.register_buffer("folded", plain.folded * scale)

    def self_attend(
        self, tokens: Float[Tensor, "b n c"], position: Float[Tensor, "n c"], ignored: Bool[Tensor, "b n"] | None
    ) -> Float[Tensor, "b n c"]:
        """See PositionedAttention."""
        del position
        packed = F.linear(tokens, self.weight, self.bias).add_(self.folded).float()
        query, key, value = rearrange(packed, "b n (p h d) -> p b h n d", p=3, h=self.heads)
        mask = None
        if ignored is not None:
            mask = torch.zeros(ignored.shape).masked_fill_(ignored, -torch.inf)
        return self._merge(
            [
                attend(query[i], key[i], value[i], None if mask is None else mask[i], self.kernels)
                for i in range(tokens.shape[0])
            ]
        )

    def cross_attend(
        self,
        tokens: Float[Tensor, "b n c"],
        position: Float[Tensor, "n c"],
        key: Float[Tensor, "heads m d"],
        value: Float[Tensor, "heads m d"],
    ) -> Float[Tensor, "b n c"]:
        """See PositionedAttention."""
        del position
        width = tokens.shape[-1]
        packed = F.linear(tokens, self.weight[:width], self.bias[:width]).add_(self.folded[:, :width]).float()
        query = rearrange(packed, "b n (h d) -> b h n d", h=self.heads)
        return self._merge([attend(item, key, value, None, self.kernels) for item in query])

    def _merge(self, attended: list[Float[Tensor, "n c"]]) -> Float[Tensor, "b n c"]:
        out: Tensor = self.out_proj(torch.stack(attended))
        return out


def attend(
    query: Float[Tensor, "heads n d"],
    key: Float[Tensor, "heads m d"],
    value: Float[Tensor, "heads m d"],
    mask: Float[Tensor, " m"] | None,
    kernels: Kernels,
) -> Float[Tensor, "n c"]:
    """Softmax attention of scaled queries, heads side by side; ``mask`` is added to the scores.

    Counts of keys that the kernel does not take go by PyTorch's.
    """
    heads, count, depth = query.shape
    keys = key.shape[1]
    if keys % kernels.width or depth > kernels.width:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=1.0)
        return rearrange(out, "h n d -> n (h d)")
    filled = -(-depth // kernels.lanes) * kernels.lanes
    assert query.stride(2) == key.stride(2) == value.stride(2) == 1
    result = query.new_empty(count, heads * depth)
    packed_keys, packed_values = query.new_empty(heads * keys * depth), query.new_empty(heads * keys * filled)
    job = AttentionJob(
        query=query.data_ptr(), key=key.data_ptr(), value=value.data_ptr(), y=result.data_ptr(),
        mask=None if mask is None else mask.data_ptr(),
        packed_keys=packed_keys.data_ptr(), packed_values=packed_values.data_ptr(),
        heads=heads, queries=count, keys=keys, depth=depth,
        query_row=query.stride(1), key_row=key.stride(1), value_row=value.stride(1),
        query_head=query.stride(0), key_head=key.stride(0), value_head=value.stride(0),
    )  # fmt: skip
    kernels.attention(job)
    return result
