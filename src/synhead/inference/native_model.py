"""A folded model with its convolutions, norms and fusions on the native CPU kernels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.model.autoencoder import FeatureModulation, Fusion
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import PositionedAttention
from synhead.nn.blocks import ResBlock, Upsample
from synhead.nn.hourglass import DownBlock, UpBlock
from synhead.nn.native import Kernels
from synhead.nn.native_attention import NativeAttention
from synhead.nn.native_blocks import NativeConv2d, NativeResBlock, PointwiseConv2d
from synhead.nn.replacing import replace_children


class NativeModulation(nn.Module):
    """SFT with its weight folded into the last convolutions: x * (1 + w * scale) + w * shift."""

    def __init__(self, plain: FeatureModulation, kernels: Kernels) -> None:
        super().__init__()
        self.encode = NativeResBlock(plain.encode, kernels)
        self.scale1, self.scale2 = _branch(plain.scale, plain.weight, kernels)
        self.shift1, self.shift2 = _branch(plain.shift, plain.weight, kernels)
        self.scale2.bias += 1

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        encoded = self.encode(torch.cat([compensated, x], dim=1))
        scaled = self.scale2(self.scale1(encoded)).mul_(x)
        return self.shift2.add_to(scaled, self.shift1(encoded))


def _branch(branch: nn.Sequential, weight: float, kernels: Kernels) -> tuple[NativeConv2d, NativeConv2d]:
    first, activation, second = branch
    assert isinstance(first, nn.Conv2d)
    assert isinstance(activation, nn.LeakyReLU)
    assert isinstance(second, nn.Conv2d)
    last = NativeConv2d(second, kernels)
    last.weight *= weight
    last.bias *= weight
    return NativeConv2d(first, kernels, slope=activation.negative_slope), last


class NativeFusion(nn.Module):
    """``Fusion`` whose sums happen inside its convolutions."""

    def __init__(self, plain: Fusion, kernels: Kernels) -> None:
        super().__init__()
        self.modulation = None if plain.modulation is None else NativeModulation(plain.modulation, kernels)
        self.addition = None if plain.addition is None else NativeConv2d(plain.addition, kernels)

    @staticmethod
    def serves(plain: Fusion, kernels: Kernels) -> bool:
        """Whether the kernels take every convolution of it: thin ones they do not."""
        return all(
            NativeConv2d.serves(conv, kernels) and conv.out_channels % kernels.lanes == 0
            for conv in plain.modules()
            if isinstance(conv, nn.Conv2d) and conv.kernel_size != (1, 1)
        )

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        if self.modulation is not None:
            x = self.modulation(x, compensated)
        if self.addition is not None:
            x = self.addition(compensated, x)
        return x


def use_kernels(model: TalkingHead, kernels: Kernels) -> None:
    """Replaces what the kernels take in all that a driving frame runs through. ``model`` is folded already."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in (
        model.keypoint_detector,
        model.coarse_motion,
        model.motion_compensation,
        model.appearance_compensation,
        model.decoder,
    ):
        replace_children(part, lambda module: _native(module, kernels))


def _native(module: nn.Module, kernels: Kernels) -> nn.Module | None:
    """What does the same on the kernels, if they take it whole."""
    if isinstance(module, PositionedAttention):
        return NativeAttention(module, kernels)
    if isinstance(module, Fusion) and NativeFusion.serves(module, kernels):
        return NativeFusion(module, kernels)
    if isinstance(module, ResBlock) and NativeResBlock.serves(module, kernels):
        return NativeResBlock(module, kernels)
    return _convolution(module, kernels)


def _convolution(module: nn.Module, kernels: Kernels) -> nn.Module | None:
    """A convolution with what is around it."""
    conv = module.conv if isinstance(module, (Upsample, UpBlock, DownBlock)) else module
    if isinstance(conv, nn.Conv2d) and conv.kernel_size == (1, 1) and conv.groups == 1:
        return PointwiseConv2d(conv)
    if not NativeConv2d.serves(conv, kernels):
        return None
    if isinstance(module, DownBlock):
        return nn.Sequential(NativeConv2d(conv, kernels, slope=0.0), nn.AvgPool2d(2))
    enlarge = isinstance(module, (Upsample, UpBlock))
    return NativeConv2d(conv, kernels, enlarge=enlarge, slope=0.0 if isinstance(module, UpBlock) else 1.0)
