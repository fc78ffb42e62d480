import pytest
import torch
from torch import nn

from synhead.losses.adversarial import (
    adaptive_weight,
    discriminator_losses,
    feature_matching_loss,
    generator_loss,
    last_layer_gradients,
)


def test_hinge_by_hand():
    real, fake = torch.tensor([[[[2.0, 0.5]]]]), torch.tensor([[[[-2.0, 0.5]]]])
    losses = discriminator_losses(real, fake)
    assert losses.real.item() == pytest.approx(0.25)
    assert losses.fake.item() == pytest.approx(0.75)
    assert generator_loss(fake).item() == pytest.approx(0.75)


def test_adaptive_weight_is_clamped_and_detached():
    gradient = torch.ones(3, 4, 3, 3, requires_grad=True)
    norm = 108**0.5
    assert adaptive_weight(gradient, 0.1 * gradient).item() == pytest.approx(0.8)
    assert adaptive_weight(gradient, 4 * gradient).item() == pytest.approx(0.8 * norm / (4 * norm + 1e-4))
    assert adaptive_weight(gradient, 0 * gradient).item() == pytest.approx(0.8)
    assert adaptive_weight(0 * gradient, gradient).item() == 0
    assert not adaptive_weight(gradient, gradient).requires_grad


def test_last_layer_gradients_equal_autograd():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 6, 9, 7, dtype=torch.float64, generator=generator)
    conv = nn.Conv2d(6, 3, 3, padding=1, dtype=torch.float64)
    pulls = torch.randn(2, 2, 3, 9, 7, dtype=torch.float64, generator=generator).unbind()
    found = last_layer_gradients(hidden, pulls)
    for pull, ours in zip(pulls, found, strict=True):
        (expected,) = torch.autograd.grad((conv(hidden) * pull).sum(), conv.weight)
        torch.testing.assert_close(ours, expected)


def test_last_layer_gradients_of_half_precision_hidden_are_float32():
    hidden, pull = torch.randn(1, 4, 8, 8), torch.randn(1, 3, 8, 8)
    (exact,) = last_layer_gradients(hidden, [pull])
    (half,) = last_layer_gradients(hidden.bfloat16(), [pull])
    assert half.dtype == torch.float32
    assert half.norm().item() == pytest.approx(exact.norm().item(), rel=1e-2)


def test_feature_matching_sums_layers_and_leaves_the_real_side():
    fake = [torch.ones(1, 2, 4, 4, requires_grad=True), torch.zeros(1, 4, 2, 2, requires_grad=True)]
    real = [torch.zeros(1, 2, 4, 4, requires_grad=True), torch.full((1, 4, 2, 2), 2.0)]
    loss = feature_matching_loss(fake, real)
    assert loss.item() == pytest.approx(3.0)
    loss.backward()
    assert fake[1].grad is not None
    assert real[0].grad is None
