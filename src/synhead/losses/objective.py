"""The generator's objective: every term of spec section C, weighed in this one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import upcast
from synhead.geometry.tps import RandomWarp
from synhead.losses.adversarial import adaptive_weight, feature_matching_loss, generator_loss, last_layer_gradients
from synhead.losses.codebook import code_loss, motion_reconstruction_loss
from synhead.losses.config import LossConfig
from synhead.losses.image import pixel_loss
from synhead.losses.keypoints import equivariance_jacobian_loss, equivariance_value_loss, keypoint_distance_loss
from synhead.losses.perceptual import PerceptualLoss
from synhead.losses.regions import FacePoints, face_regions, landmark_flow_loss, landmark_loss, opening_loss
from synhead.losses.structure import laplacian_loss, ms_ssim_loss
from synhead.types import TrainingPass

Terms = dict[str, Tensor]


@runtime_checkable
class Critic(Protocol):
    """The discriminator, in train mode and not wrapped by DDP.

    Only gradients of images are asked for; its parameters get none. Freezing them (``requires_grad_(False)``) for
    the generator's step saves their part of the graph.
    """

    def __call__(self, image: Tensor) -> Tensor:
        """``b 3 h w`` to logits ``b 1 h' w'``."""
        ...

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of its layers, for feature matching."""
        ...


@dataclass(frozen=True, slots=True)
class LossReport:
    """``total``: what to call ``backward`` on. ``terms``: detached, by name, as weighted contributions to the total.

    The total is the sum of the terms but for ``adversarial_weight``, the adaptive factor inside ``adversarial``.
    A term that is off (weight 0, no codebook, before the adversarial start) has no entry.
    """

    total: Float[Tensor, ""]
    terms: Terms


@dataclass(frozen=True, slots=True)
class ImageGradients:
    """Gradients of the weighted image terms on I_g and, if there is one, I_g^1, detached, with the terms' values."""

    image: Float[Tensor, "b 3 H W"]
    low_resolution: Float[Tensor, "b 3 H W"] | None
    terms: Terms


class GeneratorObjective(nn.Module):
    """Weighs the losses of one training pass.

    Image losses are back-propagated to I_g and I_g^1 here, once, because the adaptive weight needs their gradients;
    ``total`` stands for them by the surrogate sum(I_g * g) with g that gradient, detached. Its derivative with
    respect to every parameter of the generator is that of the true total, and its value is the true total's.
    ``total.backward()`` thus starts at the images: neither VGG nor the discriminator is passed through a second time,
    and their activations are freed before it starts. A test compares it with the plain graph.

    To compile, compile the parts (``objective.perceptual.compile()``, the critic): this is their eager conductor.
    """

    def __init__(self, config: LossConfig, perceptual: PerceptualLoss | None) -> None:
        super().__init__()
        self.config = config
        self.perceptual = perceptual

    def forward(
        self,
        training_pass: TrainingPass,
        driving_image: Float[Tensor, "b 3 H W"],
        *,
        warp: RandomWarp,
        iteration: int,
        critic: Critic | None = None,
        points: FacePoints | None = None,
    ) -> LossReport:
        """``warp``: the one that made the transformed frame. ``iteration`` counts from 1.

        ``critic`` is used in iterations after ``config.adversarial_start`` only.
        """
        active = critic if self.config.adversarial_active(iteration) else None
        images = self.image_gradients(training_pass, driving_image, active, points)
        direct = self._direct_terms(training_pass, warp, points)
        surrogate = (upcast(training_pass.animation.image) * images.image).sum()
        if training_pass.low_resolution is not None and images.low_resolution is not None:
            surrogate = surrogate + (upcast(training_pass.low_resolution) * images.low_resolution).sum()
        total = sum(direct.values(), surrogate)
        terms = images.terms | _detached(direct)
        return LossReport(total=total + (_value(terms) - total).detach(), terms=terms)

    def image_gradients(
        self,
        training_pass: TrainingPass,
        driving_image: Float[Tensor, "b 3 H W"],
        critic: Critic | None,
        points: FacePoints | None = None,
    ) -> ImageGradients:
        """Values and gradients of all terms of I_g and I_g^1, on leaves cut from the generator's graph.

        lambda comes from the gradients of the last layer's weight, which follow from those of its output and from its
        input ``last_hidden``; that output is the share ``drawn`` of I_g. L_rec of the adaptive weight is all
        reconstruction terms of I_g: pixel and perceptual as published, and the structural ones where they are on.
        """
        image = upcast(training_pass.animation.image.detach()).requires_grad_()
        low_resolution = training_pass.low_resolution
        low_resolution = None if low_resolution is None else upcast(low_resolution.detach()).requires_grad_()
        leaves = (image,) if low_resolution is None else (image, low_resolution)
        with torch.enable_grad():
            fine, low = self._reconstruction_terms(image, low_resolution, driving_image, points)
            loss = sum((fine | low).values(), torch.zeros((), device=image.device, requires_grad=True))
            gradient, *low_gradient = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
            terms = _detached(fine | low)
            if critic is not None:
                pull, adversarial = self._adversarial_gradient(critic, image, driving_image, gradient, training_pass)
                gradient, terms = gradient + pull, terms | adversarial
        return ImageGradients(gradient, low_gradient[0] if low_gradient else None, terms)

    def _reconstruction_terms(
        self, image: Tensor, low_resolution: Tensor | None, target: Tensor, points: FacePoints | None
    ) -> tuple[Terms, Terms]:
        """Weighted terms of I_g and of I_g^1."""
        weights, losses = self.config.weights, dict[str, list[Tensor]]()
        images = (image,) if low_resolution is None or not weights.low_resolution else (image, low_resolution)
        if weights.pixel:
            losses["pixel"] = [weights.pixel * pixel_loss(each, target) for each in images]
        if self.perceptual is not None and weights.perceptual:
            losses["perceptual"] = [weights.perceptual * loss for loss in self.perceptual(images, target)]
        fine = {name: values[0] for name, values in losses.items()}
        low = {f"{name}_low": weights.low_resolution * values[1] for name, values in losses.items() if values[1:]}
        if weights.ms_ssim:
            fine["ms_ssim"] = weights.ms_ssim * ms_ssim_loss(image, target)
        if weights.laplacian:
            fine["laplacian"] = weights.laplacian * laplacian_loss(image, target)
        if points is not None and weights.regions:
            fine["regions"] = weights.regions * self._regions(image, target, points)
        return fine, low

    def _regions(self, image: Tensor, target: Tensor, points: FacePoints) -> Tensor:
        """Pixel and perceptual terms of mouth and eyes, cut out at a quarter of the picture's side."""
        side = image.shape[-1] // 4
        found, wanted = (face_regions(each, points.driving, side) for each in (image, target))
        loss = self.config.weights.pixel * pixel_loss(found, wanted)
        if self.perceptual is not None:
            loss = loss + self.config.weights.perceptual * self.perceptual((found,), wanted)[0]
        return loss

    def _adversarial_gradient(
        self, critic: Critic, image: Tensor, target: Tensor, reconstruction: Tensor, made: TrainingPass
    ) -> tuple[Tensor, Terms]:
        """Gradient on I_g of all that comes from the critic, and its terms; ``reconstruction`` is that of L_rec."""
        weights, terms, gradient = self.config.weights, Terms(), torch.zeros_like(reconstruction)
        if weights.adversarial:
            loss = generator_loss(critic(image))
            (pull,) = torch.autograd.grad(loss, image)
            pulls = [each if made.drawn is None else each * made.drawn for each in (reconstruction, pull)]
            factor = adaptive_weight(*last_layer_gradients(made.last_hidden, pulls), ceiling=weights.adversarial)
            gradient = gradient + factor * pull
            terms |= {"adversarial": factor * loss.detach(), "adversarial_weight": factor}
        if weights.feature_matching:
            loss = self._feature_matching(critic, image, target)
            gradient = gradient + torch.autograd.grad(loss, image)[0]
            terms["feature_matching"] = loss.detach()
        return gradient, terms

    def _feature_matching(self, critic: Critic, image: Tensor, target: Tensor) -> Tensor:
        """Two more passes of the critic (and of its batch norm): the published recipe has none of it."""
        with torch.no_grad():
            real = critic.features(target)
        return self.config.weights.feature_matching * feature_matching_loss(critic.features(image), real)

    def _direct_terms(self, training_pass: TrainingPass, warp: RandomWarp, points: FacePoints | None) -> Terms:
        """Weighted terms that do not come from images, with their graph."""
        weights, terms = self.config.weights, Terms()
        driving, transformed = training_pass.driving, training_pass.transformed
        if training_pass.motion_codes and weights.motion_code:
            codes = [coding.quantized for coding in training_pass.motion_codes]
            terms["motion_code"] = weights.motion_code * code_loss(codes)
        if training_pass.motion_codes and weights.motion_reconstruction:
            error = motion_reconstruction_loss(training_pass.motion_codes)
            terms["motion_reconstruction"] = weights.motion_reconstruction * error
        if training_pass.appearance_codes and weights.appearance_code:
            terms["appearance_code"] = weights.appearance_code * code_loss(training_pass.appearance_codes)
        if weights.equivariance_value:
            value = equivariance_value_loss(driving, transformed, warp)
            terms["equivariance_value"] = weights.equivariance_value * value
        if weights.equivariance_jacobian:
            jacobian = equivariance_jacobian_loss(driving, transformed, warp)
            terms["equivariance_jacobian"] = weights.equivariance_jacobian * jacobian
        if weights.keypoint_distance:
            distance = keypoint_distance_loss(training_pass.source, driving, self.config.keypoint_distance)
            terms["keypoint_distance"] = weights.keypoint_distance * distance
        if points is not None:
            terms |= self._landmark_terms(training_pass, points)
        return terms

    def _landmark_terms(self, training_pass: TrainingPass, points: FacePoints) -> Terms:
        """Weighted terms of keypoints and flows that landmarks lead."""
        weights, terms, animation = self.config.weights, Terms(), training_pass.animation
        size, source, driving = animation.image.shape[-1], training_pass.source, training_pass.driving
        if weights.landmarks:
            error = landmark_loss(source, points.source, size) + landmark_loss(driving, points.driving, size)
            terms["landmarks"] = weights.landmarks * error
        if weights.openings:
            error = opening_loss(source, points.source, size) + opening_loss(driving, points.driving, size)
            terms["openings"] = weights.openings * error
        if weights.landmark_flow:
            error = landmark_flow_loss(animation.coarse.motion, points, size)
            error = error + landmark_flow_loss(animation.traces[-1].motion, points, size)
            terms["landmark_flow"] = weights.landmark_flow * error
        return terms


def _detached(terms: Terms) -> Terms:
    return {name: term.detach() for name, term in terms.items()}


def _value(terms: Terms) -> Tensor:
    contributions = [term for name, term in terms.items() if name != "adversarial_weight"]
    return torch.stack(contributions).sum()
