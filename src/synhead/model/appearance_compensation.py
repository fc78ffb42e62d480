"""Appearance codebook compensation, ACC (spec B.6): warped features in, compensated features out, at every scale."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.warp import resize_grid
from synhead.model.codebook import Codebook, RetrievalTransformer
from synhead.nn.attention import attendable
from synhead.nn.conv import training_kernels
from synhead.nn.linear import Linear
from synhead.nn.windows import join_windows, part_windows
from synhead.types import CodeMemory, Quantized


class PatchProjection(nn.Module):
    """Window partition and projection of one scale to tokens, and its reverse (section 3.3)."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        # At patch 1 the published code has 1 x 1 convolutions; a linear layer on tokens is the same map.
        self.embed = Linear(patch * patch * channels, width)
        self.restore = Linear(width, patch * patch * channels)

    def to_tokens(self, feature: Float[Tensor, "b c s s"]) -> Float[Tensor, "b n d"]:
        """Row-major tokens; inside a patch: row, column, channel fastest."""
        if _moves_rows(feature):
            windows = part_windows(feature, self.patch)
        else:
            windows = rearrange(feature, "b c (h p) (w q) -> b (h w) (p q c)", p=self.patch, q=self.patch)
        tokens: Tensor = self.embed(windows)
        return tokens

    def to_feature(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b c s s"]:
        """Window reverse."""
        side = round(tokens.shape[1] ** 0.5)
        p = self.patch
        windows: Tensor = self.restore(tokens)
        if _moves_rows(windows):
            return join_windows(windows, p)
        pixels = rearrange(windows, "b (h w) (p q c) -> b (h p) (w q) c", h=side, p=p, q=p)
        return rearrange(pixels, "b h w c -> b c h w")  # a view: channels last, as the decoder's convolutions like it


def _moves_rows(x: Tensor) -> bool:
    """Whether windows are taken and put by whole rows: in training on a GPU in half precision."""
    return training_kernels(x) is not None


class AppearanceCompensation(nn.Module):
    """Section 3.3: F_c^i from F_w^i with the appearance codes that scale i may see. Other scales pass unchanged."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.side = config.token_size
        self.edge = (
            1.0  # beyond it a flow leaves the source; a hard mask, so that comparisons move it by their rounding
        )
        self.scales = config.compensated_scales(config.appearance.scope)
        width = config.appearance.width
        self.projections = nn.ModuleDict(
            {str(s): PatchProjection(config.width(s), s // self.side, width) for s in self.scales}
        )
        self.codebook = Codebook(config, config.appearance)
        self.transformer = RetrievalTransformer(config.appearance, self.side**2)

    def memory(self) -> CodeMemory:
        """Cross-attention keys and values of the codes, once per set of weights."""
        return self.transformer.memory(self.codebook)

    def forward(
        self,
        scale: int,
        warped: Float[Tensor, "b c s s"],
        grid: Float[Tensor, "b h w 2"],
        memory: CodeMemory,
    ) -> Float[Tensor, "b c s s"]:
        """``grid``: M^i; tokens whose flow points outside the source are ignored as keys in the first layer."""
        if scale not in self.scales:
            return warped
        projection = self.projection(scale)
        tokens = projection.to_tokens(warped)
        tokens = self.transformer(tokens, memory, self.codebook.rows[scale], attendable(self._outside(grid)))
        return projection.to_feature(tokens)

    def code(self, features: dict[int, Float[Tensor, "b c s s"]]) -> tuple[Quantized, ...]:
        """Training only: quantised driving features F_d^i, not detached (spec B.10)."""
        codings = []
        for scale in self.scales:
            tokens = self.projection(scale).to_tokens(features[scale])
            compact = rearrange(tokens, "b (h w) c -> b c h w", h=self.side)
            codings.append(self.codebook.quantize(compact, scale))
        return tuple(codings)

    def projection(self, scale: int) -> PatchProjection:
        """The projection of one compensated scale."""
        module = self.projections[str(scale)]
        assert isinstance(module, PatchProjection)
        return module

    def _outside(self, grid: Float[Tensor, "b h w 2"]) -> Bool[Tensor, "b n"]:
        outside = (resize_grid(grid, self.side).abs() > self.edge).any(dim=-1)
        return rearrange(outside, "b h w -> b (h w)")


class NoAppearanceCompensation(nn.Module):
    """Table 2 without an appearance codebook: F_c^i = F_w^i."""

    def memory(self) -> None:
        """No codes."""
        return

    def forward(
        self, scale: int, warped: Float[Tensor, "b c s s"], grid: Float[Tensor, "b h w 2"], memory: None
    ) -> Float[Tensor, "b c s s"]:
        """The warped feature as it is."""
        del scale, grid, memory
        return warped

    def code(self, features: dict[int, Float[Tensor, "b c s s"]]) -> tuple[Quantized, ...]:
        """Nothing is quantised."""
        del features
        return ()
