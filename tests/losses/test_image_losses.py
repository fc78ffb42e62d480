import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from synhead.losses.image import mean, pixel_loss
from synhead.losses.structure import laplacian_loss, ms_ssim, ms_ssim_loss


def images(size: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, size // 8, size // 8, generator=generator) * 2 - 1
    target = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (target + 0.2 * torch.randn(2, 3, size, size, generator=generator)).clamp(-1, 1), target


def test_pixel_loss_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [-1.0, 0.5]]]])
    assert pixel_loss(image, torch.zeros_like(image)).item() == pytest.approx(2.5 / 4)


def test_mean_sums_half_precision_in_float32():
    value = torch.full((300, 300), 0.1, dtype=torch.bfloat16)
    assert mean(value).dtype == torch.float32
    assert mean(value).item() == pytest.approx(value[0, 0].item(), rel=1e-6)
    assert mean(value.double()).dtype == torch.float64


def test_ms_ssim_equals_torchmetrics():
    image, target = images(192)
    expected = [
        multiscale_structural_similarity_index_measure(a[None], b[None], data_range=2.0)
        for a, b in zip(image, target, strict=True)
    ]
    torch.testing.assert_close(ms_ssim(image, target), torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [16, 64])
def test_ms_ssim_of_small_and_equal_images(size: int):
    image, target = images(size)
    torch.testing.assert_close(ms_ssim(target, target), torch.ones(2))
    assert 0 < ms_ssim_loss(image, target).item() < 1


def test_ms_ssim_of_opposite_images_has_finite_gradient():
    image, _ = images(64)
    image.requires_grad_()
    loss = ms_ssim_loss(image, -image.detach())
    loss.backward()
    assert loss.isfinite()
    assert image.grad is not None
    assert image.grad.isfinite().all()


def test_ms_ssim_refuses_tiny_images():
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ms_ssim(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))


def test_laplacian_of_a_constant_offset_is_in_the_rest_alone():
    target = images(32)[1]
    assert laplacian_loss(target + 0.25, target).item() == pytest.approx(0.25, rel=1e-4)
    assert laplacian_loss(target, target).item() == 0


def test_laplacian_counts_every_level():
    image, target = images(32)
    assert laplacian_loss(image, target, levels=3) > laplacian_loss(image, target, levels=0)
    torch.testing.assert_close(laplacian_loss(image, target, levels=0), pixel_loss(image, target))
