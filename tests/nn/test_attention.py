"""Attention against ``torch.nn.MultiheadAttention``, the quantiser against hand-made and third-party answers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from synhead.nn.attention import MultiHeadAttention, PositionedAttention, attend, attendable
from synhead.nn.quantizer import quantize


@pytest.fixture
def pair():
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.in_proj.weight,
            "in_proj_bias": ours.in_proj.bias.data.uniform_(-1, 1),
            "out_proj.weight": ours.out_proj.weight,
            "out_proj.bias": ours.out_proj.bias,
        }
    )
    return ours.eval(), theirs.eval()


def test_self_attention_matches_torch(pair):
    ours, theirs = pair
    x, position = torch.randn(2, 9, 16), torch.randn(9, 16)
    ignored = torch.zeros(2, 9, dtype=torch.bool)
    ignored[0, 3:6] = True
    want, _ = theirs(x + position, x + position, x, key_padding_mask=ignored)
    assert torch.allclose(ours.self_attend(x, position, ignored), want, atol=1e-5)


def test_cross_attention_matches_torch(pair):
    ours, theirs = pair
    x, position, context = torch.randn(2, 9, 16), torch.randn(9, 16), torch.randn(7, 16)
    want, _ = theirs(x + position, context.expand(2, 7, 16), context.expand(2, 7, 16))
    assert torch.allclose(ours.cross_attend(x, position, *ours.memory(context)), want, atol=1e-5)


@pytest.mark.parametrize("tiles", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_head_by_head_is_attention(dtype, tiles, monkeypatch):
    monkeypatch.setattr("synhead.nn.attention.has_matrix_tiles", lambda: tiles)
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, n, 8) for n in (10, 14, 14))
    mask = torch.rand(2, 1, 1, 14) > 0.3
    for given in (None, mask):
        wanted = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=given)
        with torch.inference_mode():
            found = attend(query.to(dtype), key.to(dtype), value.to(dtype), given).float()
        torch.testing.assert_close(found, wanted, atol=1e-5 if dtype == torch.float32 else 0.03, rtol=0)


def test_a_position_may_be_folded_in():
    torch.manual_seed(0)
    plain, position, tokens = MultiHeadAttention(16, 4), torch.randn(10, 16), torch.randn(2, 10, 16)
    folded = PositionedAttention(plain, position)
    ignored = torch.rand(2, 10) > 0.5
    memory = plain.memory(torch.randn(12, 16))
    torch.testing.assert_close(
        folded.self_attend(tokens, position, ignored), plain.self_attend(tokens, position, ignored)
    )
    torch.testing.assert_close(
        folded.cross_attend(tokens, position, *memory), plain.cross_attend(tokens, position, *memory)
    )


def test_items_with_all_tokens_ignored_attend_everywhere():
    ignored = torch.tensor([[True, True], [True, False]])
    assert attendable(ignored).tolist() == [[False, False], [True, False]]


def test_quantiser_by_hand():
    codes = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    feature = torch.tensor([0.9, 0.2]).reshape(1, 2, 1, 1).requires_grad_()
    result = quantize(feature, codes)
    assert result.indices.item() == 1  # the first of two equal codes
    assert torch.equal(result.values.flatten(), torch.tensor([1.0, 0.0]))
    assert float(result.loss) == pytest.approx(1.25 * (0.01 + 0.04) / 2)
    result.loss.backward()
    assert torch.allclose(codes.grad[1], torch.tensor([0.1, -0.2]))
    assert torch.allclose(feature.grad.flatten(), 0.25 * torch.tensor([-0.1, 0.2]))


def test_quantiser_is_straight_through():
    feature = torch.randn(1, 4, 3, 3, requires_grad=True)
    weight = torch.randn(1, 4, 3, 3)
    (quantize(feature, torch.randn(8, 4)).values * weight).sum().backward()
    assert torch.allclose(feature.grad, weight)


def test_quantiser_has_the_gradients_of_its_two_terms():
    feature, codes, weight = torch.randn(2, 4, 3, 5), torch.randn(6, 4), torch.randn(2, 4, 3, 5)
    found = [feature.clone().requires_grad_(), codes.clone().requires_grad_()]
    wanted = [feature.clone().requires_grad_(), codes.clone().requires_grad_()]
    result = quantize(*found)
    (result.loss + (result.values * weight).sum()).backward()
    nearest = F.embedding(result.indices, wanted[1]).permute(0, 3, 1, 2)
    terms = 0.25 * F.mse_loss(wanted[0], nearest.detach()) + F.mse_loss(nearest, feature)
    (terms + (wanted[0] * weight).sum()).backward()
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_quantiser_agrees_with_a_known_library():
    library = pytest.importorskip("vector_quantize_pytorch")
    torch.manual_seed(1)
    codes, feature = torch.randn(32, 8), torch.randn(2, 8, 5, 5)
    oracle = library.VectorQuantize(dim=8, codebook_size=32, accept_image_fmap=True).eval()
    oracle._codebook.embed.data.copy_(codes[None])
    _, indices, _ = oracle(feature)
    assert torch.equal(quantize(feature, codes).indices, indices)
