"""Adversarial losses, the adaptive weight (spec C; Esser 2021, eq. 7) and discriminator feature matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.grad import conv2d_weight

from synhead.losses.image import mean


@dataclass(frozen=True, slots=True)
class DiscriminatorLosses:
    """The two hinge terms. Published training runs them as two separate passes, each with its own backward."""

    real: Float[Tensor, ""]
    fake: Float[Tensor, ""]


def generator_loss(logits: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """-E[D(I_g)]."""
    return -mean(logits)


def discriminator_real_loss(logits: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """E[relu(1 - D(I_d))]."""
    return mean((1 - logits).relu())


def discriminator_fake_loss(logits: Float[Tensor, "b 1 h w"]) -> Float[Tensor, ""]:
    """E[relu(1 + D(I_g))]."""
    return mean((1 + logits).relu())


def discriminator_losses(
    real_logits: Float[Tensor, "b 1 h w"], fake_logits: Float[Tensor, "b 1 h w"]
) -> DiscriminatorLosses:
    """Both hinge terms; no factor 1/2, no weight."""
    return DiscriminatorLosses(real=discriminator_real_loss(real_logits), fake=discriminator_fake_loss(fake_logits))


def feature_matching_loss(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Sum over the discriminator's layers of E[|D_l(I_g) - sg D_l(I_d)|] (Wang 2018, eq. 4); not in the recipe."""
    distances = [mean((ours - theirs.detach()).abs()) for ours, theirs in zip(fake, real, strict=True)]
    return torch.stack(distances).sum()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, *, ceiling: float = 0.8) -> Float[Tensor, ""]:
    """lambda = ceiling * clamp(|g_r| / (|g_a| + 1e-4), 0, 1) of last-layer gradients, Frobenius norms, detached."""
    ratio = torch.linalg.vector_norm(reconstruction) / (torch.linalg.vector_norm(adversarial) + 1e-4)
    weight: Tensor = ceiling * ratio.clamp(0, 1)
    return weight.detach()


def last_layer_gradients(
    hidden: Float[Tensor, "b c h w"], image_gradients: Sequence[Float[Tensor, "b 3 h w"]]
) -> tuple[Float[Tensor, "3 c 3 3"], ...]:
    """Weight gradients of the decoder's last convolution from gradients of its output, one for each loss.

    The convolution I_g = conv(hidden) is linear, so a loss need not be back-propagated through the generator to know
    its weight gradient. Size-keeping convolution of stride 1 (spec B.4 block 18). All losses share one pass over
    ``hidden``, as output channels of one wider convolution. In the precision of ``hidden``, returned as float32.
    """
    stacked = torch.cat(list(image_gradients), dim=1).to(hidden.dtype)
    weight: Tensor = conv2d_weight(hidden, [stacked.shape[1], hidden.shape[1], 3, 3], stacked, padding=1)
    return tuple(weight.to(torch.promote_types(weight.dtype, torch.float32)).chunk(len(image_gradients)))
