"""The model made ready to run many times: the same figure 1 with faster bricks that compute the same, up to rounding.

Done once per checkpoint: batch norms are folded into their convolutions, the projections of the transformers' positions
and of both codebooks are computed, weights are cast and laid out. The weights of the given model are not touched.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from synhead.inference.native_model import use_kernels
from synhead.model.autoencoder import Fusion
from synhead.model.codebook import RetrievalTransformer
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import PositionedAttention, RetrievalLayer, has_matrix_tiles, padded_heads
from synhead.nn.blocks import Upsample
from synhead.nn.fast_conv import PhaseUpsample, WinogradConv2d
from synhead.nn.hourglass import DownBlock, UpBlock
from synhead.nn.native import Kernels
from synhead.nn.native_attention import NativeAttention
from synhead.nn.native_blocks import PointwiseConv2d
from synhead.nn.replacing import replace_children
from synhead.types import CodeMemory

_WIDE = 64  # thinner models spend little in large convolutions, and lose more to Winograd's layout than they gain


@dataclass(frozen=True, slots=True)
class CodeMemories:
    """Keys and values of both codebooks: they depend on the checkpoint alone."""

    motion: CodeMemory | None
    appearance: CodeMemory | None


def project_codes(model: TalkingHead, dtype: torch.dtype, *, padded: bool = False) -> CodeMemories:
    """Cross-attention keys and values of all codes, computed in the weights' precision and kept in ``dtype``.

    ``padded``: heads filled up as the Triton blocks want them.
    """
    with torch.no_grad():
        return CodeMemories(
            motion=_cast_memory(model.motion_compensation.memory(), dtype, padded=padded),
            appearance=_cast_memory(model.appearance_compensation.memory(), dtype, padded=padded),
        )


def fold(model: TalkingHead) -> TalkingHead:
    """A copy with batch norms and projected positions folded in: no arithmetic that depends on the weights alone."""
    # Not through the meta device: its first use imports seconds' worth of shape functions.
    shared: dict[int, Tensor] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in model.parameters()}
    shared |= {id(buffer): buffer.detach() for buffer in model.buffers()}
    copy = deepcopy(model, shared).eval()
    for module in list(copy.modules()):
        if isinstance(module, (DownBlock, UpBlock)):
            assert isinstance(module.norm, nn.BatchNorm2d)
            module.conv, module.norm = fuse_conv_bn_eval(module.conv, module.norm), nn.Identity()
        elif isinstance(module, RetrievalTransformer):
            _fold_positions(module)
    return copy


def prepare(model: TalkingHead, *, half: bool, kernels: Kernels | None = None, fused: bool = False) -> TalkingHead:
    """A copy for inference that shares unchanged weights with ``model``; to be run under autocast if ``half``.

    ``kernels`` compute what they can, in float32. ``half``: what autocast would cast at every call is cast here, and
    upsampling goes by phases; ``fused``: and drawing by the Triton kernels. With neither, on a CPU, a wide model's
    large convolutions go by NNPACK's Winograd.
    """
    copy = fold(model)
    if kernels is not None:
        use_kernels(copy, kernels)
        if half:
            _cast(copy)
    elif half:
        _half_precision(copy)
        if fused:
            from synhead.inference.triton_model import use_triton  # noqa: PLC0415 - Triton exists on GPU builds only

            use_triton(copy)
    elif _takes_winograd(model):
        _winograd(copy)
    else:
        _channels_last(copy)
    return copy


def _takes_winograd(model: TalkingHead) -> bool:
    """A wide model on a CPU without matrix tiles: those that have them multiply faster than NNPACK's kernels save."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    return on_cpu and min(model.config.feature_widths) >= _WIDE and not has_matrix_tiles()


class PlainLayout(nn.Module):
    """A fusion whose inputs are laid out once as Winograd's kernels want them: channels first."""

    def __init__(self, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, x: Float[Tensor, "b c s s"], compensated: Float[Tensor, "b c s s"]) -> Float[Tensor, "b c s s"]:
        """See Fusion."""
        out: Tensor = self.fusion(x.contiguous(), compensated.contiguous())
        return out


def _fold_positions(transformer: RetrievalTransformer) -> None:
    for layer in transformer.layers:
        assert isinstance(layer, RetrievalLayer)
        for name in ("self_attention", "cross_attention"):
            setattr(layer, name, PositionedAttention(getattr(layer, name), transformer.position))


def _winograd(model: TalkingHead) -> None:
    """Large convolutions by Winograd, where this build of PyTorch has it."""

    def quick(module: nn.Module) -> nn.Module | None:
        return WinogradConv2d(module) if isinstance(module, nn.Conv2d) and WinogradConv2d.serves(module) else None

    replace_children(model, quick)
    for scale, fusion in list(model.decoder.fusions.items()):
        assert isinstance(fusion, Fusion)
        model.decoder.fusions[scale] = PlainLayout(fusion)


def _half_precision(model: TalkingHead) -> None:
    """Weights cast once; upsampling by phases, since half precision has no Winograd."""
    replace_children(model.decoder, lambda each: PhaseUpsample(each) if isinstance(each, Upsample) else None)
    _cast(model)
    _channels_last(model)


def _cast(model: TalkingHead) -> None:
    """What autocast runs in half precision; coordinates are computed by the rest."""
    parts = (model.coarse_motion.hourglass, model.motion_compensation, model.appearance_compensation, model.decoder)
    for part in parts:
        for module in part.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, PhaseUpsample, PointwiseConv2d, NativeAttention)):
                module.to(torch.bfloat16)
            elif isinstance(module, PositionedAttention):
                module.folded = module.folded.to(torch.bfloat16)


def _channels_last(model: TalkingHead) -> None:
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _cast_memory(memory: CodeMemory | None, dtype: torch.dtype, *, padded: bool) -> CodeMemory | None:
    if memory is None:
        return None

    def cast(part: Tensor) -> Tensor:
        return (padded_heads(part) if padded else part).to(dtype).contiguous()

    return CodeMemory(keys=tuple(map(cast, memory.keys)), values=tuple(map(cast, memory.values)))
