"""The native blocks against the plain ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from synhead.nn.blocks import ResBlock
from synhead.nn.native_blocks import NativeConv2d, NativeGroupNorm, NativeResBlock, PointwiseConv2d


@pytest.fixture(autouse=True)
def _inference():
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.mark.parametrize(
    ("inputs", "outputs", "shape"),
    [(16, 64, (1, 8, 8)), (48, 3, (2, 9, 5)), (64, 126, (1, 4, 33)), (32, 80, (3, 1, 2))],
)
def test_winograd_is_the_convolution(kernels, threads, inputs, outputs, shape):
    batch, *size = shape
    plain, x = nn.Conv2d(inputs, outputs, 3, padding=1), torch.randn(batch, inputs, *size)
    fast = NativeConv2d(plain, kernels)
    assert fast.serves(plain, kernels)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(fast(given), plain(given), **CLOSE)


def test_enlarged_summed_and_cut_off(kernels):
    plain, x, rest = nn.Conv2d(32, 20, 3, padding=1), torch.randn(2, 32, 5, 6), torch.randn(2, 20, 10, 12)
    wanted = F.leaky_relu(plain(F.interpolate(x, scale_factor=2.0)) + rest, 0.2)
    fast = NativeConv2d(plain, kernels, enlarge=True, slope=0.2)
    rest = rest.contiguous(memory_format=torch.channels_last)
    before = rest.clone()
    torch.testing.assert_close(fast(x, rest), wanted, **CLOSE)
    assert torch.equal(rest, before), "a residual is only read"


def test_add_to_overwrites_the_sum(kernels):
    plain, x = nn.Conv2d(32, 32, 3, padding=1), torch.randn(1, 32, 8, 8)
    sum_ = torch.randn(1, 32, 8, 8).contiguous(memory_format=torch.channels_last)
    wanted = sum_ + plain(x)
    found = NativeConv2d(plain, kernels).add_to(sum_, x)
    assert found.data_ptr() == sum_.data_ptr()
    torch.testing.assert_close(found, wanted, **CLOSE)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(63, 64, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(1024, 512, 3, padding=1, device="meta"),
        nn.Linear(64, 64),
    ],
)
def test_the_rest_is_left_alone(kernels, module):
    assert not NativeConv2d.serves(module, kernels)


@pytest.mark.parametrize("swish", [False, True])
@pytest.mark.parametrize("shape", [(2, 64, 3, 5), (1, 32, 64, 70), (1, 128, 1, 1)])
def test_group_norm(kernels, threads, swish, shape):
    plain, x = nn.GroupNorm(8, shape[1], eps=1e-6), 3 * torch.randn(shape) + 20
    plain.weight.normal_()
    plain.bias.normal_()
    wanted = F.silu(plain(x)) if swish else plain(x)
    fast = NativeGroupNorm(plain, kernels, swish=swish)
    torch.testing.assert_close(fast(x), wanted, atol=5e-5, rtol=1e-4)
    given = x.contiguous(memory_format=torch.channels_last)
    assert fast.inplace(given).data_ptr() == given.data_ptr()
    torch.testing.assert_close(given, wanted, atol=5e-5, rtol=1e-4)


def test_swish_of_extremes(kernels):
    plain = nn.GroupNorm(1, 16, eps=1e-6)
    plain.bias.copy_(torch.tensor([-1e4, -200, -90, -88, -87, -20, -1, -1e-3, 0, 1e-3, 1, 20, 87, 90, 200, 1e4]))
    x = torch.zeros(1, 16, 2, 2)
    torch.testing.assert_close(NativeGroupNorm(plain, kernels, swish=True)(x), F.silu(plain(x)), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("widths", [(32, 32), (32, 64)])
def test_residual_block(kernels, widths):
    plain, x = ResBlock(*widths, groups=8), torch.randn(2, widths[0], 12, 12)
    kept = x.clone()
    assert NativeResBlock.serves(plain, kernels)
    torch.testing.assert_close(NativeResBlock(plain, kernels)(x), plain(x), **CLOSE)
    assert torch.equal(x, kept)
    thin = kernels.lanes // 2  # 8 of AVX-512's lanes, 4 of AVX2's
    assert not NativeResBlock.serves(ResBlock(thin, thin, groups=4), kernels)


def test_pointwise():
    plain, x = nn.Conv2d(6, 5, 1), torch.randn(2, 6, 3, 4)
    torch.testing.assert_close(PointwiseConv2d(plain)(x), plain(x), **CLOSE)
