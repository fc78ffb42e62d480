"""Blocks on the native kernels: what the plain ones give, up to rounding, in float32. Inference on a CPU only."""

from __future__ import annotations

from typing import TypeGuard

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.nn.blocks import ResBlock
from synhead.nn.native import ConvolutionJob, Kernels, NormJob

# G of F(4 x 4, 3 x 3): three taps at the points 0, 1, -1, 2, -2 and infinity.
_POINTS = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))
_WIDE = 256  # inputs from which the weights no longer fit the second cache beside the tiles
_PART = 2**15  # values that one thread normalises at a time
_HEAVY = 2**18  # inputs x outputs above which reading the transformed weights costs more than multiplying


class NativeConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications.

    ``enlarge``: of the picture enlarged by 2 (nearest), which is not made. ``slope``: of negative results, residual
    included: 1 leaves them, 0 is a ReLU.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: nn.Conv2d, kernels: Kernels, *, enlarge: bool = False, slope: float = 1.0) -> None:
        super().__init__()
        assert plain.bias is not None
        self.kernels, self.enlarge, self.slope = kernels, enlarge, slope
        self.inputs, self.outputs = plain.in_channels, plain.out_channels
        self.register_buffer("weight", packed(plain.weight.detach(), kernels))
        self.register_buffer("bias", F.pad(plain.bias.detach(), (0, -self.outputs % kernels.lanes)))

    @staticmethod
    def serves(module: nn.Module, kernels: Kernels) -> TypeGuard[nn.Conv2d]:
        """Whether ``module`` is a convolution that gains from this one."""
        return (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (3, 3)
            and module.stride == (1, 1)
            and module.padding == (1, 1)
            and module.groups == 1
            and module.bias is not None
            and module.in_channels % kernels.lanes == 0
            and module.in_channels * module.out_channels <= _HEAVY
        )

    def forward(
        self, x: Float[Tensor, "b c h w"], residual: Float[Tensor, "b d h2 w2"] | None = None
    ) -> Float[Tensor, "b d h2 w2"]:
        """The convolution, plus ``residual``."""
        return self._run(x, None if residual is None else by_pixel(residual), None)

    def add_to(self, sum_: Float[Tensor, "b d h2 w2"], x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """``sum_`` plus the convolution, in its place: memory that is in use already needs no new pages."""
        sum_ = by_pixel(sum_)
        return self._run(x, sum_, sum_)

    def _run(self, x: Tensor, residual: Tensor | None, out: Tensor | None) -> Tensor:
        x = by_pixel(x)
        items, _, h, w = x.shape
        h, w = (2 * h, 2 * w) if self.enlarge else (h, w)
        if out is None:
            out = torch.empty((items, self.outputs, h, w), memory_format=torch.channels_last)
        job = ConvolutionJob(
            x=x.data_ptr(), weight=self.weight.data_ptr(), bias=self.bias.data_ptr(), y=out.data_ptr(),
            residual=None if residual is None else residual.data_ptr(),
            items=items, h=h, w=w, inputs=self.inputs, outputs=self.outputs,
            block=self._block(h, w), enlarge=self.enlarge, slope=self.slope,
        )  # fmt: skip
        self.kernels.winograd(job)
        return out

    def _block(self, h: int, w: int) -> int:
        """Tiles at a time, in sixes: few stay in the second cache, many read the weights less often."""
        wanted = 36 if self.inputs >= _WIDE else 24
        shared = -(-(-(-h // 4) * -(-w // 4)) // torch.get_num_threads())
        return min(wanted, -(-shared // 6) * 6)


def packed(weight: Float[Tensor, "d c 3 3"], kernels: Kernels) -> Float[Tensor, " n"]:
    """The kernels at 36 points each, in the order in which they are read."""
    points = torch.tensor(_POINTS, dtype=torch.float64) / 24
    spread = torch.einsum("p a, d c a b, q b -> p q c d", points, weight.double(), points).float()
    columns = spread.flatten(0, 1).split(kernels.width, dim=2)
    return torch.cat([F.pad(column, (0, -column.shape[2] % kernels.lanes)).flatten() for column in columns])


class NativeGroupNorm(nn.Module):
    """Group norm, followed by a swish or not, reading twice and writing once."""

    def __init__(self, plain: nn.GroupNorm, kernels: Kernels, *, swish: bool) -> None:
        super().__init__()
        self.kernels, self.swish = kernels, swish
        self.groups, self.epsilon, self.weight, self.bias = plain.num_groups, plain.eps, plain.weight, plain.bias

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = by_pixel(x)
        return self._run(x, torch.empty_like(x))

    def inplace(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The same, over its input."""
        x = by_pixel(x)
        return self._run(x, x)

    def _run(self, x: Tensor, out: Tensor) -> Tensor:
        items, channels, h, w = x.shape
        parts = max(1, h * w * channels // _PART)
        sums, gains = x.new_empty(items, parts, 2, channels), x.new_empty(items, 2, channels)
        job = NormJob(
            x=x.data_ptr(), weight=self.weight.data_ptr(), bias=self.bias.data_ptr(), y=out.data_ptr(),
            sums=sums.data_ptr(), gains=gains.data_ptr(), epsilon=self.epsilon, swish=self.swish,
            items=items, pixels=h * w, channels=channels, groups=self.groups, parts=parts,
        )  # fmt: skip
        self.kernels.group_norm(job)
        return out


class NativeResBlock(nn.Module):
    """``ResBlock`` whose norms, swishes, convolutions and sum are two kernels each half."""

    def __init__(self, plain: ResBlock, kernels: Kernels) -> None:
        super().__init__()
        self.norm1 = NativeGroupNorm(plain.norm1, kernels, swish=True)
        self.conv1 = NativeConv2d(plain.conv1, kernels)
        self.norm2 = NativeGroupNorm(plain.norm2, kernels, swish=True)
        self.conv2 = NativeConv2d(plain.conv2, kernels)
        self.shortcut: nn.Module = nn.Identity()
        if isinstance(plain.shortcut, nn.Conv2d):
            self.shortcut = PointwiseConv2d(plain.shortcut, biased=False)
            assert plain.shortcut.bias is not None
            self.conv2.bias += plain.shortcut.bias.detach()  # two biases of one sum

    @staticmethod
    def serves(module: nn.Module, kernels: Kernels) -> bool:
        """Whether ``module`` is a block all of whose parts the kernels take."""
        return isinstance(module, ResBlock) and all(
            NativeConv2d.serves(conv, kernels) and conv.out_channels % kernels.lanes == 0
            for conv in (module.conv1, module.conv2)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        x = by_pixel(x)
        hidden = self.norm2.inplace(self.conv1(self.norm1(x)))
        if isinstance(self.shortcut, PointwiseConv2d):
            return self.conv2.add_to(self.shortcut(x), hidden)
        out: Tensor = self.conv2(hidden, x)
        return out


class PointwiseConv2d(nn.Module):
    """A 1 x 1 convolution as the matrix product that it is, for which PyTorch would rearrange the picture."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, plain: nn.Conv2d, *, biased: bool = True) -> None:
        super().__init__()
        self.register_buffer("weight", plain.weight.detach().flatten(1))
        self.register_buffer("bias", plain.bias.detach() if biased and plain.bias is not None else None)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        return rearrange(F.linear(rearrange(x, "b c h w -> b h w c"), self.weight, self.bias), "b h w d -> b d h w")


def by_pixel(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """As the kernels read it: float32, channels last, without gaps."""
    return x.float().contiguous(memory_format=torch.channels_last)
