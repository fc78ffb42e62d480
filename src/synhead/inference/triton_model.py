"""A prepared model in half precision with its norms, sums, activations and fusions on the Triton kernels, for GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.fused_warp import merged
from synhead.geometry.warp import resize, taps, warp_taps
from synhead.model.appearance_compensation import PatchProjection
from synhead.model.autoencoder import Fusion
from synhead.model.motion_compensation import FlowRefiner, WarpedSource
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import RetrievalLayer
from synhead.nn.blocks import AttentionBlock, ResBlock
from synhead.nn.fast_conv import PhaseUpsample
from synhead.nn.hourglass import DownBlock, UpBlock
from synhead.nn.native_blocks import PointwiseConv2d
from synhead.nn.phases import phase_kernels
from synhead.nn.replacing import replace_children
from synhead.nn.triton_blocks import (
    BiasedConv2d,
    FlowConv2d,
    PhaseConv2d,
    TritonAttentionBlock,
    TritonResBlock,
    picture,
    rows,
    unbiased,
)
from synhead.nn.triton_conv import convolve_narrow, is_narrow, modulate_narrow, packed
from synhead.nn.triton_kernels import add_table, modulate
from synhead.nn.triton_retrieval import TritonRetrievalLayer


class TritonFusion(nn.Module):
    """``Fusion``: scale, shift and the added feature meet in one pass."""

    shift_bias: Tensor

    def __init__(self, plain: Fusion) -> None:
        super().__init__()
        assert plain.modulation is not None
        self.weight, self.addition = plain.modulation.weight, plain.addition
        self.encode = TritonResBlock(plain.modulation.encode, parts=2)
        (scale1, self.scale2), (shift1, self.shift2) = _branch(plain.modulation.scale), _branch(plain.modulation.shift)
        self.scale1, self.shift1 = BiasedConv2d(scale1, "leaky"), BiasedConv2d(shift1, "leaky")
        assert self.shift2.bias is not None
        bias = self.shift2.bias.detach().float()
        if plain.addition is not None:
            assert plain.addition.bias is not None
            bias = bias + plain.addition.bias.detach().float() / self.weight  # weighed below, as shift is
        self.register_buffer("shift_bias", bias)

    @staticmethod
    def serves(module: nn.Module) -> TypeGuard[Fusion]:
        """Whether ``module`` is a fusion that modulates, and with a weight, whose norm parts between its inputs."""
        if not isinstance(module, Fusion) or module.modulation is None or module.modulation.weight == 0:
            return False
        return module.modulation.encode.norm1.num_groups % 2 == 0

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        encoded = self.encode(compensated, x)
        scale = rows(unbiased(self.scale2, self.scale1(encoded)))
        shift = rows(unbiased(self.shift2, self.shift1(encoded)))
        extra = None if self.addition is None else rows(unbiased(self.addition, compensated))
        assert self.scale2.bias is not None
        return picture(modulate(rows(x), (scale, self.scale2.bias), (shift, self.shift_bias), self.weight, extra))


class NarrowFusion(nn.Module):
    """``Fusion`` of few channels: both first convolutions are one, and so are both last ones and the addition."""

    first: Tensor
    first_bias: Tensor
    last: Tensor
    scale_bias: Tensor
    shift_bias: Tensor

    def __init__(self, plain: Fusion) -> None:
        super().__init__()
        modulation, addition = plain.modulation, plain.addition
        assert modulation is not None
        assert addition is not None
        self.weight = modulation.weight
        self.encode = TritonResBlock(modulation.encode, parts=2)
        (scale1, scale2), (shift1, shift2) = _branch(modulation.scale), _branch(modulation.shift)
        self.register_buffer("first", packed(torch.cat([scale1.weight, shift1.weight])))
        self.register_buffer("first_bias", torch.cat([_bias(scale1), _bias(shift1)]))
        weighed = (shift2.weight.detach().float() * self.weight).to(shift2.weight.dtype)
        last = [packed(weight) for weight in (scale2.weight, weighed, addition.weight)]
        self.register_buffer("last", torch.stack(last))
        self.register_buffer("scale_bias", _bias(scale2))
        self.register_buffer("shift_bias", _bias(shift2) * self.weight + _bias(addition))

    @staticmethod
    def serves(module: Fusion) -> bool:
        """Whether ``module``, which TritonFusion serves, adds too, and is narrow."""
        return module.addition is not None and is_narrow(module.addition)

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        encoded = rows(self.encode(compensated, x))
        hidden = convolve_narrow(encoded, self.first, self.first_bias, activation="leaky")
        biases = self.scale_bias, self.shift_bias
        return picture(modulate_narrow(rows(x), hidden, rows(compensated), self.last, biases, self.weight))


def _branch(branch: nn.Sequential) -> tuple[nn.Conv2d, nn.Conv2d]:
    first, activation, second = branch
    assert isinstance(first, nn.Conv2d)
    assert isinstance(activation, nn.LeakyReLU)
    assert activation.negative_slope == 0.2  # the kernel's
    assert isinstance(second, nn.Conv2d)
    return first, second


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.detach().float()


class TritonRefiner(nn.Module):
    """``FlowRefiner``: biases and ReLUs inside convolutions, both heads as one, channels filled up to eights."""

    def __init__(self, plain: FlowRefiner) -> None:
        super().__init__()
        width = plain.flow_out.in_channels
        self.width = width
        motion, flow = plain.motion2.out_channels, plain.flow2.out_channels
        self.motion1 = BiasedConv2d(plain.motion1, "relu")
        self.motion2 = BiasedConv2d(widened([plain.motion2]), "relu")
        self.flow1 = FlowConv2d(plain.flow1, "relu")
        self.flow2 = BiasedConv2d(widened([plain.flow2]), "relu")
        places = torch.cat([torch.arange(motion), eights(motion) + torch.arange(flow)])
        self.join = BiasedConv2d(widened([plain.join], [places], eights(motion) + eights(flow)), "relu")
        contexts = {scale: widened([conv]) for scale, conv in plain.contexts.items() if isinstance(conv, nn.Conv2d)}
        self.contexts = nn.ModuleDict(contexts)
        context = plain.context.in_channels
        self.context = BiasedConv2d(widened([plain.context], [torch.arange(context)], eights(context)), "relu")
        self.flow_at = plain.join.out_channels  # in the state; what was widened behind it holds zeros
        state = torch.cat([torch.arange(width), eights(width) + torch.arange(width)])
        hidden = widened([plain.flow_hidden, plain.occlusion_hidden], [state, state], 2 * eights(width))
        self.hidden = BiasedConv2d(hidden, "relu")
        heads = [torch.arange(width), width + torch.arange(width)]
        self.out = BiasedConv2d(widened([plain.flow_out, plain.occlusion_out], heads, eights(2 * width)))

    def forward(
        self,
        scale: int,
        retrieved: Float[Tensor, "b c h w"],
        flow_px: Float[Tensor, "b 2 h w"],
        warped: WarpedSource,
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
        """See FlowRefiner."""
        motion = self.motion2(self.motion1(retrieved))
        flow = self.flow2(self.flow1(flow_px))
        joined = self.join(torch.cat([motion, flow], dim=1))
        joined[:, self.flow_at : self.width] = flow_px
        context = self.context(self._context(scale, flow_px.shape[-1], warped))
        out = self.out(self.hidden(torch.cat([joined, context], dim=1)))
        return out[:, :2], out[:, 2:3]

    def _context(self, scale: int, size: int, warped: WarpedSource) -> Float[Tensor, "b e h w"]:
        project = self.contexts[str(scale)]
        assert isinstance(project, nn.Conv2d)
        assert project.bias is not None
        weight = project.weight.flatten(1)
        if warped.whole is not None:
            projected = F.linear(rows(warped.whole.to(weight.dtype)), weight)
            return resize(picture(add_table(projected, project.bias, activation="relu")), size)
        pixels = warp_taps(warped.source, warped.grid, size)
        projected = F.linear(rows(pixels.to(weight.dtype)), weight)
        _, shares = taps(warped.source.shape[-1], size, pixels)
        return picture(merged(projected, shares, project.bias))


def eights(channels: int) -> int:
    """``channels`` filled up to what convolutions of half precision take without copying."""
    return -(-channels // 8) * 8


def widened(convs: Sequence[nn.Conv2d], places: Sequence[Tensor] | None = None, inputs: int | None = None) -> nn.Conv2d:
    """One convolution for several, outputs filled up with zeros to a multiple of eight.

    ``places``: where each one's input channels are among ``inputs``; None: they are its input.
    """
    first = convs[0]
    inputs = first.in_channels if inputs is None else inputs
    outputs = sum(conv.out_channels for conv in convs)
    like = first.weight
    wide = nn.Conv2d(inputs, eights(outputs), first.kernel_size, padding=first.padding)  # type: ignore[arg-type]
    wide = wide.to(device=like.device, dtype=like.dtype).requires_grad_(requires_grad=False)
    assert wide.bias is not None
    wide.weight.zero_()
    wide.bias.zero_()
    start = 0
    for i, conv in enumerate(convs):
        assert conv.bias is not None
        columns = torch.arange(conv.in_channels) if places is None else places[i]
        stop = start + conv.out_channels
        wide.weight[start:stop, columns.to(like.device)] = conv.weight.detach()
        wide.bias[start:stop] = conv.bias.detach()
        start = stop
    wide.weight.data = wide.weight.data.contiguous(memory_format=torch.channels_last)
    return wide


class TritonDownBlock(nn.Module):
    """``DownBlock`` with its norm folded."""

    def __init__(self, plain: DownBlock) -> None:
        super().__init__()
        self.conv = BiasedConv2d(plain.conv, "relu")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        return F.avg_pool2d(self.conv(x), 2)


class TritonPatchProjection(PatchProjection):
    """``PatchProjection`` that reads windows by a convolution of their size and stride, without rearranging them."""

    kernel: Tensor

    def __init__(self, plain: PatchProjection) -> None:
        nn.Module.__init__(self)
        self.patch, self.embed, self.restore = plain.patch, plain.embed, plain.restore
        p = plain.patch
        weight = rearrange(plain.embed.weight.detach(), "d (p q c) -> d c p q", p=p, q=p)
        self.register_buffer("kernel", weight.contiguous(memory_format=torch.channels_last))

    def to_tokens(self, feature: Float[Tensor, "b c s s"]) -> Float[Tensor, "b n d"]:
        """See PatchProjection."""
        if self.patch == 1:
            return super().to_tokens(feature)
        kernel = self.kernel
        windows = rows(F.conv2d(feature.to(kernel.dtype), kernel, None, stride=self.patch))
        return rearrange(add_table(windows, self.embed.bias), "b h w d -> b (h w) d")


def _upsample(plain: PhaseUpsample) -> PhaseConv2d:
    return PhaseConv2d(plain.weight, plain.bias[: plain.channels])


def _up_block(plain: UpBlock) -> PhaseConv2d:
    assert plain.conv.bias is not None
    kernels = phase_kernels(plain.conv.weight.detach().float()).to(plain.conv.weight.dtype)
    return PhaseConv2d(kernels, plain.conv.bias, "relu")


def use_triton(model: TalkingHead) -> None:
    """Replaces what the kernels take in all that a driving frame is drawn by. ``model`` is folded and cast already."""
    for part in (
        model.coarse_motion.hourglass,
        model.motion_compensation,
        model.appearance_compensation,
        model.decoder,
    ):
        replace_children(part, _fused)


def _fused(module: nn.Module) -> nn.Module | None:
    """What does the same on the kernels, if they take it whole."""
    if TritonFusion.serves(module):
        return NarrowFusion(module) if NarrowFusion.serves(module) else TritonFusion(module)
    for plain, fused in _BLOCKS.items():
        if isinstance(module, plain):
            return fused(module)
    if FlowConv2d.serves(module):
        return FlowConv2d(module)
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        return PointwiseConv2d(module) if module.kernel_size == (1, 1) else BiasedConv2d(module)
    return None


_BLOCKS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    ResBlock: TritonResBlock,
    AttentionBlock: TritonAttentionBlock,
    RetrievalLayer: TritonRetrievalLayer,
    PatchProjection: TritonPatchProjection,
    PhaseUpsample: _upsample,
    FlowRefiner: TritonRefiner,
    DownBlock: TritonDownBlock,
    UpBlock: _up_block,
}
