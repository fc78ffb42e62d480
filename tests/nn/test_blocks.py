"""Blocks against hand-made answers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from synhead.config import HourglassConfig
from synhead.nn.blocks import AntialiasDownscale, Downsample, ResBlock, antialias_kernel
from synhead.nn.conv import Conv2d, activated
from synhead.nn.hourglass import Hourglass
from synhead.nn.norm import normalise, normalise_swish
from synhead.nn.parts import first_channels, split_batch
from synhead.nn.together import convolve_together


@pytest.mark.parametrize(("factor", "size"), [(1, 1), (2, 5), (4, 13), (8, 29)])
def test_kernels_have_the_published_sizes(factor, size):
    kernel = antialias_kernel(factor)
    assert kernel.shape == (1, 1, size, size)
    assert float(kernel.sum()) == pytest.approx(1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_parts_lie_as_the_whole(layout):
    leaf = torch.randn(3, 5, 4, 6).to(memory_format=layout).requires_grad_()
    whole = leaf * 1
    gradients: list[torch.Tensor] = []
    whole.register_hook(gradients.append)
    for ours, theirs in (
        ((first_channels(whole, 3),), (whole[:, :3],)),
        (split_batch(whole, 2), whole.split([2, 1])),
        (split_batch(whole, 2)[1:], whole.split([2, 1])[1:]),  # the other has no gradient
    ):
        gradients.clear()
        for parts in (ours, theirs):
            leaf.grad = None
            sum(part.exp().sum() for part in parts).backward(retain_graph=True)
        assert torch.equal(*gradients)
        assert gradients[0].is_contiguous(memory_format=layout)
    assert all(torch.equal(*pair) for pair in zip(split_batch(whole, 2), whole.split([2, 1]), strict=True))


def test_downscale_is_a_filter_then_every_factorth_pixel():
    image = torch.rand(2, 3, 32, 32)
    kernel = antialias_kernel(4).expand(3, 1, 13, 13)
    want = F.conv2d(F.pad(image, (6, 6, 6, 6)), kernel, groups=3)[:, :, ::4, ::4]
    assert torch.allclose(AntialiasDownscale(3, 4)(image), want, atol=1e-6)


def test_downsample_pads_right_and_bottom_only():
    block = Downsample(1)
    with torch.no_grad():
        block.conv.weight.zero_()[0, 0, 0, 0] = 1  # picks the top-left pixel of every window
        block.conv.bias.zero_()
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert torch.equal(block(image), image[:, :, ::2, ::2])


def test_hourglass_widths_of_the_published_networks():
    hourglass = Hourglass(3, HourglassConfig(width=32))
    assert [b.conv.out_channels for b in hourglass.down_blocks] == [64, 128, 256, 512, 1024]
    assert [(b.conv.in_channels, b.conv.out_channels) for b in hourglass.up_blocks] == [
        (1024, 512), (1024, 256), (512, 128), (256, 64), (128, 32),
    ]  # fmt: skip
    assert hourglass(torch.rand(2, 3, 32, 32)).shape == (2, 35, 32, 32)


def test_normalise_without_a_gpu_is_group_norm():
    norm, x = torch.nn.GroupNorm(4, 8), torch.randn(2, 8, 5, 5)
    assert torch.equal(normalise(norm, x), norm(x))
    assert torch.equal(normalise_swish(norm, x), F.silu(norm(x)))


def test_resblock_changes_width_by_a_shortcut():
    assert isinstance(ResBlock(8, 8, 4).shortcut, torch.nn.Identity)
    assert ResBlock(8, 16, 4)(torch.rand(1, 8, 4, 4)).shape == (1, 16, 4, 4)


def test_resblock_of_two_halves_is_that_of_their_concatenation():
    block, left, right = ResBlock(8, 4, 4), torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    assert torch.equal(block.joined(left, right), block(torch.cat([left, right], dim=1)))


@pytest.mark.parametrize(("activation", "plain"), [("relu", F.relu), ("leaky", lambda x: F.leaky_relu(x, 0.2))])
def test_activations_without_a_gpu_follow_the_convolutions(activation, plain):
    first, second, x = Conv2d(3, 4, 1), Conv2d(3, 2, 1), torch.randn(2, 3, 5, 5)
    assert torch.equal(activated(first, x, activation), plain(first(x)))
    for found, conv in zip(convolve_together(x, first, second, activation=activation), (first, second), strict=True):
        assert torch.allclose(found, plain(conv(x)), atol=1e-6)
