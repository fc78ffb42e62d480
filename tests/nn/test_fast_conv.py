import pytest
import torch
from torch import nn

from synhead.nn.blocks import Upsample
from synhead.nn.fast_conv import PhaseUpsample, WinogradConv2d

needs_nnpack = pytest.mark.skipif(not torch.backends.nnpack.is_available(), reason="this PyTorch has no NNPACK")


@pytest.mark.parametrize("size", [(5, 8), (1, 1)])
def test_phases_are_the_upsampled_convolution(size):
    torch.manual_seed(0)
    plain, x = Upsample(6), torch.randn(2, 6, *size)
    with torch.no_grad():
        torch.testing.assert_close(PhaseUpsample(plain)(x), plain(x), atol=1e-5, rtol=1e-5)


@needs_nnpack
@pytest.mark.parametrize("shape", [(1, 64, 32, 48), (2, 64, 33, 32), (1, 64, 4, 4)])
def test_winograd_is_the_convolution(shape):
    torch.manual_seed(0)
    plain, x = nn.Conv2d(64, 96, 3, padding=1), torch.randn(shape)
    fast = WinogradConv2d(plain)
    assert fast.serves(plain)
    with torch.inference_mode():
        for given in (x, x.contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(fast(given), plain(given), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 2, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1).bfloat16(),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
    ],
)
def test_winograd_leaves_the_rest_alone(module):
    assert not WinogradConv2d.serves(module)
