"""The native attention against the plain one."""

import pytest
import torch
import torch.nn.functional as F

from synhead.nn.attention import MultiHeadAttention, PositionedAttention
from synhead.nn.native_attention import NativeAttention, attend


@pytest.fixture(autouse=True)
def _inference():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("depth", [4, 16, 24, 64])
@pytest.mark.parametrize("keys", [64, 192, 40])
def test_attend(kernels, depth, keys):
    heads, queries = 3, 50
    query, key, value = (torch.randn(count, heads, depth).transpose(0, 1) for count in (queries, keys, keys))
    mask = torch.zeros(keys)
    mask[::3] = -torch.inf
    for given in (None, mask):
        wanted = F.scaled_dot_product_attention(query, key, value, attn_mask=given, scale=1.0)
        found = attend(query, key, value, given, kernels)
        torch.testing.assert_close(found, wanted.transpose(0, 1).flatten(1), atol=2e-5, rtol=1e-4)


def test_large_scores_do_not_overflow(kernels):
    query, key, value = torch.full((1, 2, 8), 50.0), torch.full((1, 64, 8), 50.0), torch.rand(1, 64, 8)
    key[0, 5] += 1
    torch.testing.assert_close(attend(query, key, value, None, kernels), value[0, 5].expand(2, 8))


@pytest.mark.parametrize("batch", [1, 2])
def test_positions_and_scale_are_folded(kernels, batch):
    tokens, position = torch.randn(batch, 64, 32), torch.randn(64, 32)
    plain = PositionedAttention(MultiHeadAttention(32, 4), position)
    fast = NativeAttention(plain, kernels)
    ignored = torch.rand(batch, 64) < 0.5
    for mask in (None, ignored):
        wanted = plain.self_attend(tokens, position, mask)
        torch.testing.assert_close(fast.self_attend(tokens, position, mask), wanted, atol=2e-5, rtol=1e-4)
    key, value = torch.randn(4, 256, 8)[:, :128], torch.randn(4, 256, 8)[:, :128]
    wanted = plain.cross_attend(tokens, position, key, value)
    torch.testing.assert_close(fast.cross_attend(tokens, position, key, value), wanted, atol=2e-5, rtol=1e-4)
