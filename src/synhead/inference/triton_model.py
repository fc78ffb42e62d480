"""A prepared model in half precision with its norms, sums, activations and fusions on the Triton kernels, for GPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.model.autoencoder import Fusion
from synhead.model.motion_compensation import FlowRefiner, WarpedSource
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import RetrievalLayer
from synhead.nn.blocks import AttentionBlock, ResBlock
from synhead.nn.fast_conv import PhaseUpsample
from synhead.nn.hourglass import DownBlock, UpBlock
from synhead.nn.native_blocks import PointwiseConv2d
from synhead.nn.triton_blocks import (
    BiasedConv2d,
    TritonAttentionBlock,
    TritonPhaseUpsample,
    TritonResBlock,
    TritonRetrievalLayer,
    picture,
    rows,
    unbiased,
)
from synhead.nn.triton_kernels import modulate

__all__ = ["use_triton"]


class TritonFusion(nn.Module):
    """``Fusion``: scale, shift and the added feature meet in one pass."""

    shift_bias: Tensor

    def __init__(self, plain: Fusion) -> None:
        super().__init__()
        assert plain.modulation is not None
        self.weight, self.addition = plain.modulation.weight, plain.addition
        self.encode = TritonResBlock(plain.modulation.encode)
        self.scale1, self.scale2 = _branch(plain.modulation.scale)
        self.shift1, self.shift2 = _branch(plain.modulation.shift)
        assert self.shift2.bias is not None
        bias = self.shift2.bias.detach().float()
        if plain.addition is not None:
            assert plain.addition.bias is not None
            bias = bias + plain.addition.bias.detach().float() / self.weight  # weighed below, as shift is
        self.register_buffer("shift_bias", bias)

    @staticmethod
    def serves(module: nn.Module) -> bool:
        """Whether ``module`` is a fusion that modulates, and with a weight."""
        return isinstance(module, Fusion) and module.modulation is not None and module.modulation.weight != 0

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        encoded = self.encode(torch.cat([compensated, x], dim=1))
        scale = rows(unbiased(self.scale2, self.scale1(encoded)))
        shift = rows(unbiased(self.shift2, self.shift1(encoded)))
        extra = None if self.addition is None else rows(unbiased(self.addition, compensated))
        assert self.scale2.bias is not None
        return picture(modulate(rows(x), (scale, self.scale2.bias), (shift, self.shift_bias), self.weight, extra))


def _branch(branch: nn.Sequential) -> tuple[BiasedConv2d, nn.Conv2d]:
    first, activation, second = branch
    assert isinstance(first, nn.Conv2d)
    assert isinstance(activation, nn.LeakyReLU)
    assert activation.negative_slope == 0.2  # the kernel's
    assert isinstance(second, nn.Conv2d)
    return BiasedConv2d(first, "leaky"), second


class TritonRefiner(nn.Module):
    """``FlowRefiner`` with biases and ReLUs in one pass."""

    def __init__(self, plain: FlowRefiner) -> None:
        super().__init__()
        relu = {name: BiasedConv2d(getattr(plain, name), "relu") for name in _RELU}
        self.relu = nn.ModuleDict(relu)
        self.contexts = nn.ModuleDict({s: BiasedConv2d(conv, "relu") for s, conv in plain.contexts.items()})  # type: ignore[arg-type]
        self.flow_out, self.occlusion_out = plain.flow_out, plain.occlusion_out

    def forward(
        self,
        scale: int,
        retrieved: Float[Tensor, "b c h w"],
        flow_px: Float[Tensor, "b 2 h w"],
        warped: WarpedSource,
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
        """See FlowRefiner."""
        relu = self.relu
        flow_px = flow_px.to(self.flow_out.weight.dtype)
        motion = relu["motion2"](relu["motion1"](retrieved))
        flow = relu["flow2"](relu["flow1"](flow_px))
        joined = relu["join"](torch.cat([motion, flow], dim=1))
        context = warped.resized(flow_px.shape[-1], self.contexts[str(scale)])
        state = torch.cat([joined, flow_px, relu["context"](context)], dim=1)
        residual_px = self.flow_out(relu["flow_hidden"](state))
        return residual_px, self.occlusion_out(relu["occlusion_hidden"](state))


_RELU = ("motion1", "motion2", "flow1", "flow2", "join", "context", "flow_hidden", "occlusion_hidden")


class TritonDownBlock(nn.Module):
    """``DownBlock`` with its norm folded."""

    def __init__(self, plain: DownBlock) -> None:
        super().__init__()
        self.conv = BiasedConv2d(plain.conv, "relu")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        return F.avg_pool2d(self.conv(x), 2)


class TritonUpBlock(nn.Module):
    """``UpBlock`` with its norm folded."""

    def __init__(self, plain: UpBlock) -> None:
        super().__init__()
        self.conv = BiasedConv2d(plain.conv, "relu")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        small = x.to(self.conv.plain.weight.dtype)
        out: Tensor = self.conv(F.interpolate(small, scale_factor=2.0, mode="nearest"))
        return out


def use_triton(model: TalkingHead) -> None:
    """Replaces what the kernels take in all that a driving frame is drawn by. ``model`` is folded and cast already."""
    for part in (
        model.coarse_motion.hourglass,
        model.motion_compensation,
        model.appearance_compensation,
        model.decoder,
    ):
        _replace_children(part)


def _replace_children(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        fused = _fused(child)
        if fused is None:
            _replace_children(child)
        else:
            setattr(parent, name, fused)


def _fused(module: nn.Module) -> nn.Module | None:
    """What does the same on the kernels, if they take it whole."""
    if isinstance(module, Fusion) and TritonFusion.serves(module):
        return TritonFusion(module)
    for plain, fused in _BLOCKS.items():
        if isinstance(module, plain):
            return fused(module)
    if isinstance(module, nn.Conv2d) and module.bias is not None:
        return PointwiseConv2d(module) if module.kernel_size == (1, 1) else BiasedConv2d(module)
    return None


_BLOCKS: dict[type[nn.Module], type[nn.Module]] = {
    ResBlock: TritonResBlock,
    AttentionBlock: TritonAttentionBlock,
    RetrievalLayer: TritonRetrievalLayer,
    PhaseUpsample: TritonPhaseUpsample,
    FlowRefiner: TritonRefiner,
    DownBlock: TritonDownBlock,
    UpBlock: TritonUpBlock,
}
