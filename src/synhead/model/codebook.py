"""A codebook shared by the scales, its allocation, and the transformer that retrieves from it (section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.config import CodebookConfig, ModelConfig
from synhead.nn.attention import RetrievalLayer
from synhead.nn.quantizer import quantize
from synhead.types import CodeMemory, Quantized


class Codebook(nn.Module):
    """K codes of one width; scale i of n sees the first i*K/n of them, so coarse patterns are shared by all scales."""

    def __init__(self, model: ModelConfig, config: CodebookConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(config.codes, config.width).uniform_(-1 / config.codes, 1 / config.codes)
        )
        self.rows = {scale: model.codes(config, scale) for scale in model.compensated_scales(config.scope)}

    def codes(self, scale: int) -> Float[Tensor, "n c"]:
        """The rows that ``scale`` may see."""
        return self.weight[self.rows[scale]]

    def quantize(self, feature: Float[Tensor, "b c h w"], scale: int) -> Quantized:
        """Nearest codes among those of ``scale``; indices count from the first row that the scale sees."""
        return quantize(feature, self.codes(scale))


class RetrievalTransformer(nn.Module):
    """T_M and T_A: tokens query the codes of a scale; weights shared by all scales (spec B.9)."""

    def __init__(self, config: CodebookConfig, tokens: int) -> None:
        super().__init__()
        self.normalised = config.context == "normalised"
        self.position = nn.Parameter(torch.zeros(tokens, config.width))
        self.layers = nn.ModuleList(RetrievalLayer(config.width, config.heads) for _ in range(config.layers))

    def memory(self, codebook: Codebook) -> CodeMemory:
        """Keys and values of all codes in every layer. Raw rows as published, not detached: image losses reach them."""
        raw = codebook.weight
        codes = F.layer_norm(raw, raw.shape[1:]) if self.normalised else raw
        pairs = [layer.memory(codes) for layer in self._layers()]
        return CodeMemory(keys=tuple(key for key, _ in pairs), values=tuple(value for _, value in pairs))

    def _layers(self) -> list[RetrievalLayer]:
        return [layer for layer in self.layers if isinstance(layer, RetrievalLayer)]

    def forward(
        self,
        tokens: Float[Tensor, "b n c"],
        memory: CodeMemory,
        rows: slice,
        ignored: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """``ignored``: keys masked in the self-attention of the first layer only (spec B.6 step 2)."""
        for i, layer in enumerate(self.layers):
            codes = memory.keys[i][:, rows], memory.values[i][:, rows]
            tokens = layer(tokens, self.position, codes, ignored if i == 0 else None)
        return tokens
