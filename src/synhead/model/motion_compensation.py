"""Motion codebook compensation, MCC (spec B.5): M^{i-1} in, M^i and O^i out, at every scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.grid import displace, displacement_px
from synhead.geometry.precision import upcast
from synhead.geometry.warp import merge_taps, resize, warp, warp_taps
from synhead.model.codebook import Codebook, RetrievalTransformer
from synhead.nn.blocks import Downsample, ResBlock, Upsample, conv3x3, group_norm
from synhead.nn.conv import Conv2d, activated
from synhead.nn.together import convolve_together
from synhead.types import CodeMemory, Motion, MotionCoding, ScaleTrace


@dataclass(frozen=True, slots=True)
class MotionStep:
    """Outcome of one scale: M^i with O^i, M_r^i in pixels of the flow grid, and F_m (None if not compensated)."""

    motion: Motion
    residual_px: Float[Tensor, "b 2 h w"]
    feature: Float[Tensor, "b c t t"] | None


class WarpedSource:
    """F_s^i warped by M^{i-1}, made where it is read: a resize to much fewer pixels reads only some of them."""

    def __init__(self, source: Float[Tensor, "b c s s"], grid: Float[Tensor, "b h w 2"]) -> None:
        self.source, self.grid = source, grid
        # Worth it where the refiner, at the flow's size, reads less than every pixel.
        self.whole = None if source.shape[-1] > 2 * grid.shape[1] else warp(source, grid)

    def resized(self, size: int, pointwise: Callable[[Tensor], Tensor] | None = None) -> Float[Tensor, "b e t t"]:
        """``resize(pointwise(warped), size)`` for a function of each pixel alone."""
        if self.whole is not None:
            return resize(self.whole if pointwise is None else pointwise(self.whole), size)
        side = self.source.shape[-1]
        pixels = warp_taps(self.source, self.grid, size)
        return merge_taps(pixels if pointwise is None else pointwise(pixels), side, size)


class MotionEncoder(nn.Sequential):
    """E_M: displacement (b 2 h w, pixels) to F_m at half the size (spec B.5 step 2)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(conv3x3(2, width), Downsample(width), ResBlock(width, width, groups))


class MotionDecoder(nn.Sequential):
    """D_M: quantised F_m to a displacement in pixels (spec B.5 step 3)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__(Upsample(width), ResBlock(width, width, groups), group_norm(width, groups), conv3x3(width, 2))


class MotionQuery(nn.Module):
    """Q from F_m, the warped source feature and the driving heat maps, by 1 x 1 convolutions (spec B.5 steps 5-7)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.motion.width
        self.warped = nn.ModuleDict(
            {str(s): Conv2d(config.width(s), width, 1) for s in config.compensated_scales(config.motion.scope)}
        )
        self.heatmaps = Conv2d(config.keypoints.count, width, 1)
        self.guide = Conv2d(2 * width, width, 1)
        self.merge = Conv2d(2 * width, width, 1)

    def encode(self, heatmaps: Float[Tensor, "b k h w"], side: int) -> Float[Tensor, "b c t t"]:
        """What the query reads of F_kp^d; the same at every scale."""
        return activated(self.heatmaps, resize(heatmaps, side), "relu")

    def forward(
        self,
        scale: int,
        feature: Float[Tensor, "b c t t"],
        warped: Float[Tensor, "b e t t"],
        keypoints: Float[Tensor, "b c t t"],
    ) -> Float[Tensor, "b c t t"]:
        """``warped``: of the size of ``feature``; ``keypoints``: see :meth:`encode`."""
        appearance = activated(self.warped[str(scale)], warped, "relu")
        guide = self.guide(torch.cat([appearance, keypoints], dim=1))
        query: Tensor = self.merge(torch.cat([feature, guide], dim=1))
        return query


class FlowRefiner(nn.Module):
    """D_MR (spec B.5 steps 10-12): retrieved motion, current flow and warped feature to residual and occlusion update.

    The paper decodes the residual from the transformer's output alone; the published code, followed here, is RAFT-like.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.motion.refine_width
        scales = config.compensated_scales(config.motion.scope)
        self.motion1 = Conv2d(config.motion.width, width, 1)
        self.motion2 = conv3x3(width, width * 3 // 4)
        self.flow1 = Conv2d(2, width, 7, padding=3)
        self.flow2 = conv3x3(width, width // 2)
        self.join = conv3x3(width * 5 // 4, width - 2)
        self.contexts = nn.ModuleDict({str(s): Conv2d(config.width(s), width * 3 // 2, 1) for s in scales})
        self.context = conv3x3(width * 3 // 2, width)
        self.flow_hidden = conv3x3(2 * width, width)
        self.flow_out = conv3x3(width, 2)
        self.occlusion_hidden = conv3x3(2 * width, width)
        self.occlusion_out = conv3x3(width, 1)

    def forward(
        self,
        scale: int,
        retrieved: Float[Tensor, "b c h w"],
        flow_px: Float[Tensor, "b 2 h w"],
        warped: WarpedSource,
    ) -> tuple[Float[Tensor, "b 2 h w"], Float[Tensor, "b 1 h w"]]:
        """Residual in pixels of the flow grid, and the occlusion update before the sigmoid."""
        motion = activated(self.motion2, activated(self.motion1, retrieved, "relu"), "relu")
        flow = activated(self.flow2, activated(self.flow1, flow_px, "relu"), "relu")
        joined = activated(self.join, torch.cat([motion, flow], dim=1), "relu")
        context = warped.resized(flow_px.shape[-1], lambda x: activated(self.contexts[str(scale)], x, "relu"))
        # In the type in which the convolution reads it: beside float32 autocast would make, and keep, all in float32.
        state = torch.cat([joined, flow_px.to(joined.dtype), activated(self.context, context, "relu")], dim=1)
        flow, occlusion = convolve_together(state, self.flow_hidden, self.occlusion_hidden, activation="relu")
        return self.flow_out(flow), self.occlusion_out(occlusion)


class MotionCompensation(nn.Module):
    """Section 3.2: refines the flow of one scale with the motion codes it may see. Other scales pass unchanged."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        motion, groups = config.motion, config.norm_groups
        self.scales = config.compensated_scales(motion.scope)
        self.side = config.token_size
        self.encoder = MotionEncoder(motion.width, groups)
        self.decoder = MotionDecoder(motion.width, groups)
        self.codebook = Codebook(config, motion)
        self.transformer = RetrievalTransformer(motion, self.side**2)
        self.query = MotionQuery(config) if motion.query == "full" else None
        self.refiner = FlowRefiner(config) if motion.residual == "refine" else None

    def memory(self) -> CodeMemory:
        """Cross-attention keys and values of the codes, once per set of weights."""
        return self.transformer.memory(self.codebook)

    def guide(self, heatmaps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b c t t"] | None:
        """What the queries of all scales read of the driving heat maps F_kp^d, once; None if they do not."""
        return None if self.query is None else self.query.encode(heatmaps, self.side)

    def forward(
        self,
        scale: int,
        source: Float[Tensor, "b c s s"],
        motion: Motion,
        guide: Float[Tensor, "b d t t"] | None,
        memory: CodeMemory,
    ) -> MotionStep:
        """``source``: F_s^i; ``motion``: M^{i-1} and O^{i-1}; ``guide``: see :meth:`guide`."""
        flow_px = displacement_px(motion.grid)
        if scale not in self.scales:
            return MotionStep(motion=motion, residual_px=torch.zeros_like(flow_px), feature=None)
        feature = self.encoder(flow_px.detach())
        warped = WarpedSource(source, motion.grid)
        query = feature
        if self.query is not None:
            query = self.query(scale, feature, warped.resized(feature.shape[-1]), guide)
        tokens = rearrange(query, "b c h w -> b (h w) c")
        tokens = self.transformer(tokens, memory, self.codebook.rows[scale])
        retrieved = rearrange(tokens, "b (h w) c -> b c h w", h=self.side)
        visibility = motion.visibility
        if self.refiner is None:  # the paper's text: decode the retrieved motion, leave the occlusion alone
            residual_px = self.decoder(retrieved)
        else:
            retrieved = resize(retrieved, flow_px.shape[-1])
            residual_px, update_logits = self.refiner(scale, retrieved, flow_px, warped)
            # O^{i-1} has been through a sigmoid already and goes through it again: the published code (B.5 step 14).
            visibility = torch.sigmoid(visibility + upcast(update_logits))
        residual_px = upcast(residual_px)
        refined = Motion(grid=displace(motion.grid, residual_px), visibility=visibility)
        return MotionStep(motion=refined, residual_px=residual_px, feature=feature)

    def code(self, start: Float[Tensor, "b h w 2"], traces: tuple[ScaleTrace, ...]) -> tuple[MotionCoding, ...]:
        """Training only: every F_m quantised and decoded by D_M against the displacement of its M^{i-1} (eq. 2, 3)."""
        grids = (start, *(trace.motion.grid for trace in traces))
        codings = []
        for grid, trace in zip(grids, traces, strict=False):
            if trace.motion_feature is None:
                continue
            quantized = self.codebook.quantize(trace.motion_feature, trace.scale)
            reconstruction_px = self.decoder(quantized.values)
            codings.append(MotionCoding(quantized, reconstruction_px, displacement_px(grid).detach()))
        return tuple(codings)


class NoMotionCompensation(nn.Module):
    """Table 2's baseline: M^0 and O^0 at every scale."""

    def memory(self) -> None:
        """No codes."""
        return

    def guide(self, heatmaps: Float[Tensor, "b k h w"]) -> None:
        """Nothing is asked."""
        del heatmaps

    def forward(
        self,
        scale: int,
        source: Float[Tensor, "b c s s"],
        motion: Motion,
        guide: None,
        memory: None,
    ) -> MotionStep:
        """The motion as it is."""
        del scale, source, guide, memory
        return MotionStep(motion=motion, residual_px=torch.zeros_like(displacement_px(motion.grid)), feature=None)

    def code(self, start: Float[Tensor, "b h w 2"], traces: tuple[ScaleTrace, ...]) -> tuple[MotionCoding, ...]:
        """Nothing is quantised."""
        del start, traces
        return ()
