"""Elementary convolutional blocks (spec B.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import autocast_dtype, full_precision
from synhead.geometry.triton_there import takes_kernels
from synhead.nn.conv import Conv2d, add_bias, training_kernels, unbiased
from synhead.nn.norm import normalise_swish, normalise_swish_joined, normalise_through

_LARGE = 2**20  # values from which a faster pass is worth more than the launch of a kernel of ours


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """GN(c): eps 1e-6, affine."""
    return nn.GroupNorm(groups, channels, eps=1e-6)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3 x 3 convolution that keeps the size."""
    return Conv2d(in_channels, out_channels, 3, padding=1)


def enlarge(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Nearest x2, in the type in which the convolution after it reads: autocast would make float32 of it."""
    x = x.to(autocast_dtype(x))
    if _halves_fused(x):
        from synhead.nn.fused_halves import DoubledPicture  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = DoubledPicture.apply(x)  # type: ignore[no-untyped-call]
        return out
    with full_precision(x):
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


def halve(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """2 x 2 average pooling; a last row or column of odd sizes is left out."""
    if _halves_fused(x) and x.shape[2] % 2 == x.shape[3] % 2 == 0:
        from synhead.nn.fused_halves import HalvedPicture  # noqa: PLC0415

        out: Tensor = HalvedPicture.apply(x)  # type: ignore[no-untyped-call]
        return out
    return F.avg_pool2d(x, 2)


def _halves_fused(x: Tensor) -> bool:
    """Whether the kernels enlarge and pool: in training on a GPU, in float32 too, where it lies by pixel."""
    here = torch.is_grad_enabled() and takes_kernels(x.device) and x.numel() >= _LARGE
    return here and x.dtype != torch.float64 and x.is_contiguous(memory_format=torch.channels_last)


class ResBlock(nn.Module):
    """GN, swish, conv, GN, swish, conv, plus the input (through a 1x1 convolution if the width changes)."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels, groups)
        self.conv1 = conv3x3(in_channels, out_channels)
        self.norm2 = group_norm(out_channels, groups)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.shortcut = nn.Identity() if in_channels == out_channels else Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        if training_kernels(x) is not None:
            return self._fused(x)
        hidden = self.conv1(normalise_swish(self.norm1, x))
        hidden = self.conv2(normalise_swish(self.norm2, hidden))
        shortcut: Tensor = self.shortcut(x)
        return shortcut + hidden

    def _fused(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The same for training: the first bias inside the second norm, the others in one pass with the sum."""
        normed, x = normalise_through(self.norm1, x, swish=True)
        return self._rest(normed, unbiased(self.shortcut, x) if isinstance(self.shortcut, nn.Conv2d) else x)

    def joined(self, left: Float[Tensor, "b c h w"], right: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """The block of ``torch.cat([left, right], dim=1)``, which training on the kernels does not make."""
        dtype = training_kernels(right)
        if dtype is None or self.norm1.num_groups % 2 or not isinstance(self.shortcut, nn.Conv2d):
            out: Tensor = self(torch.cat([left, right], dim=1))
            return out
        normed, *halves = normalise_swish_joined(self.norm1, left, right, dtype)
        shortcuts = [F.conv2d(x, w) for x, w in zip(halves, self.shortcut.weight.chunk(2, dim=1), strict=True)]
        return self._rest(normed, *shortcuts)

    def _rest(self, normed: Float[Tensor, "b c h w"], *shortcuts: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """From the first convolution on; ``shortcuts``: without their bias."""
        hidden = unbiased(self.conv1, normed)
        hidden = unbiased(self.conv2, normalise_swish(self.norm2, hidden, self.conv1.bias))
        bias = self.conv2.bias
        assert bias is not None
        if isinstance(self.shortcut, nn.Conv2d):
            assert self.shortcut.bias is not None
            bias = bias + self.shortcut.bias
        return add_bias(hidden, bias, *shortcuts)


class AttentionBlock(nn.Module):
    """One-head self-attention over all positions, with a residual connection."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.query = Conv2d(channels, channels, 1)
        self.key = Conv2d(channels, channels, 1)
        self.value = Conv2d(channels, channels, 1)
        self.out = Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        hidden, x = normalise_through(self.norm, x, swish=False)
        query, key, value = (
            rearrange(project(hidden), "b c h w -> b 1 (h w) c") for project in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.out(rearrange(attended, "b 1 (h w) c -> b c h w", h=x.shape[2]))
        return x + out


class Downsample(nn.Module):
    """Zero padding right and bottom only, then a 3 x 3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if training_kernels(x) is not None and self.conv.bias is not None:
            # The same sums by a kernel with a row and a column of zeros before it: no copy of the picture is padded,
            # nor is a strided part cut out of its gradient.
            kernel = F.pad(self.conv.weight, (1, 0, 1, 0))
            return add_bias(F.conv2d(x, kernel, None, stride=2, padding=1), self.conv.bias)
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Upsample(nn.Module):
    """Nearest x2, then a 3 x 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if training_kernels(x) is not None and self.conv.bias is not None:
            from synhead.nn.fused_phases import upsample  # noqa: PLC0415 - Triton exists on GPU builds only

            return upsample(x, self.conv.weight, self.conv.bias)
        out: Tensor = self.conv(enlarge(x))
        return out


class AntialiasDownscale(nn.Module):
    """Gaussian low-pass, then every ``factor``-th pixel from index 0 (spec B.1). The identity at factor 1.

    The kernel is a constant, but part of published checkpoints, hence a persistent buffer (``channels 1 size size``).
    """

    weight: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.register_buffer("weight", antialias_kernel(factor).expand(channels, 1, -1, -1).clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        if self.factor == 1:
            return x
        # Keeping every factor-th output of a dense convolution is a strided convolution.
        padding = self.weight.shape[-1] // 2
        return F.conv2d(x, self.weight.to(x.dtype), stride=self.factor, padding=padding, groups=x.shape[1])


def antialias_kernel(factor: int) -> Float[Tensor, "1 1 size size"]:
    """Normalised Gaussian of sigma (factor - 1) / 2 and size 2 * round(4 sigma) + 1 (5, 13, 29 at factors 2, 4, 8)."""
    if factor == 1:
        return torch.ones(1, 1, 1, 1)
    sigma = (factor - 1) / 2
    size = 2 * round(4 * sigma) + 1
    # On the CPU first: on the meta device, where checkpoints build their model, arange alone would import TorchDynamo.
    t = torch.arange(size, dtype=torch.float32, device="cpu") - (size - 1) / 2
    line = torch.exp(-t.square() / (2 * sigma**2))
    kernel = line[:, None] * line[None]
    return (kernel / kernel.sum())[None, None].to(torch.get_default_device())
