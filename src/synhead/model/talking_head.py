"""Figure 1 of the paper: keypoints, coarse motion, and per scale motion and appearance compensation, then decoding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ModelConfig
from synhead.geometry.precision import full_precision, upcast
from synhead.geometry.warp import warp, warp_occluded
from synhead.model.appearance_compensation import AppearanceCompensation, NoAppearanceCompensation
from synhead.model.autoencoder import EncodedImage, ImageDecoder, ImageEncoder
from synhead.model.coarse_motion import CoarseMotionNetwork
from synhead.model.keypoints import KeypointDetector
from synhead.model.motion_compensation import MotionCompensation, NoMotionCompensation
from synhead.types import Animation, CoarseMotion, Keypoints, ScaleTrace, SourceFeatures, TrainingPass


class TalkingHead(nn.Module):
    """The generator side of the system. Images are RGB in [-1, 1], (b 3 H W), of ``config.image_size``."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.keypoint_detector = KeypointDetector(config)
        self.coarse_motion = CoarseMotionNetwork(config)
        self.encoder = ImageEncoder(config)
        self.motion_compensation = (
            NoMotionCompensation() if config.motion.scope == "none" else MotionCompensation(config)
        )
        self.appearance_compensation = (
            NoAppearanceCompensation() if config.appearance.scope == "none" else AppearanceCompensation(config)
        )
        self.decoder = ImageDecoder(config)

    def observe(self, source_image: Float[Tensor, "b 3 H W"]) -> SourceFeatures:
        """Everything that depends on the source alone: once per source."""
        return self._source(source_image, self.keypoint_detector(source_image), self.encoder(source_image))

    def animate(self, source: SourceFeatures, driving: Keypoints) -> Animation:
        """Figure 1 from M^0 to I_g. A source of batch 1 serves any number of driving keypoints."""
        source = source.expand(driving.position.shape[0])
        coarse, traces = self._compensate(source, driving)
        compensated = {trace.scale: trace.compensated for trace in traces}
        image = self.decoder(compensated, self._warped_image(source, traces))
        return Animation(image=image, coarse=coarse, traces=traces)

    def forward(
        self,
        source_image: Float[Tensor, "b 3 H W"],
        driving_image: Float[Tensor, "b 3 H W"],
        transformed_image: Float[Tensor, "b 3 H W"],
        *,
        low_resolution: bool = True,
        coded: int | None = None,
    ) -> TrainingPass:
        """One training pass (spec B.10, D); ``transformed_image`` is the driving image under a random warp.

        ``low_resolution``: whether I_g^1 is decoded too. ``coded``: how many of the driving images are encoded for the
        appearance codes, from the first; None: all, as published.

        Three separate passes of the detector, driving first: batch norm sees each set alone, in the published order.
        """
        driving = self.keypoint_detector(driving_image)
        source_keypoints = self.keypoint_detector(source_image)
        coded_images = driving_image[:coded]
        encoded = self.encoder(torch.cat([source_image, coded_images]))
        source_part, driving_part = encoded.split(len(source_image))
        source = self._source(source_image, source_keypoints, source_part)
        coarse, traces = self._compensate(source, driving)
        compensated = {trace.scale: trace.compensated for trace in traces}
        trunk = self.decoder.trunk(traces[0].compensated)
        hidden = self.decoder.hidden(trunk, compensated)
        image, drawn = self.decoder.draw(hidden, self._warped_image(source, traces))
        return TrainingPass(
            animation=Animation(image=image, coarse=coarse, traces=traces),
            low_resolution=self.decoder.head(self.decoder.hidden(trunk, None)) if low_resolution else None,
            last_hidden=hidden.detach(),
            drawn=None if drawn is None else drawn.detach(),
            source=source_keypoints,
            driving=driving,
            transformed=self.keypoint_detector(transformed_image),
            motion_codes=self.motion_compensation.code(coarse.motion.grid, traces),
            appearance_codes=self.appearance_compensation.code(driving_part.driving_features()) if coded != 0 else (),
        )

    def motion_estimator_parameters(self) -> Iterator[nn.Parameter]:
        """Keypoint detector and coarse motion: the published "motion estimator" network."""
        yield from self.keypoint_detector.parameters()
        yield from self.coarse_motion.parameters()

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """All the rest: the published "generator" network."""
        estimator = {id(parameter) for parameter in self.motion_estimator_parameters()}
        yield from (parameter for parameter in self.parameters() if id(parameter) not in estimator)

    def _source(self, image: Tensor, keypoints: Keypoints, encoded: EncodedImage) -> SourceFeatures:
        return SourceFeatures(
            image=image,
            thumbnail=self.coarse_motion.downscale(image),
            keypoints=keypoints,
            features=encoded.features,
            motion_memory=self.motion_compensation.memory(),
            appearance_memory=self.appearance_compensation.memory(),
        )

    def _warped_image(self, source: SourceFeatures, traces: tuple[ScaleTrace, ...]) -> Float[Tensor, "b 3 H W"] | None:
        """The source image under M^N, which needs no drawing; its border goes on outside."""
        if not self.config.blend:
            return None
        with full_precision(source.image):
            return warp(upcast(source.image), traces[-1].motion.grid, outside="border")

    def _compensate(self, source: SourceFeatures, driving: Keypoints) -> tuple[CoarseMotion, tuple[ScaleTrace, ...]]:
        """Sections 3.2 and 3.3. No step needs the decoder, so decoding comes after all scales."""
        coarse = self.coarse_motion(source.thumbnail, source.keypoints, driving)
        guide = self.motion_compensation.guide(coarse.heatmaps)
        motion, traces = coarse.motion, []
        for scale in self.config.scales:
            features = source.features[scale]
            step = self.motion_compensation(scale, features, motion, guide, source.motion_memory)
            motion = step.motion
            warped = warp_occluded(features, motion.grid, motion.visibility)
            compensated = self.appearance_compensation(scale, warped, motion.grid, source.appearance_memory)
            traces.append(ScaleTrace(scale, motion, step.residual_px, step.feature, warped, compensated))
        return coarse, tuple(traces)
