import pytest
import torch

from synhead.losses.codebook import code_loss, motion_reconstruction_loss
from synhead.types import MotionCoding, Quantized


def quantized(loss: float) -> Quantized:
    return Quantized(torch.zeros(1, 2, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long), torch.tensor(loss))


def test_code_loss_sums_scales():
    assert code_loss([quantized(0.5), quantized(0.25)]).item() == 0.75


def test_reconstruction_is_in_units_of_the_grid():
    reconstruction = torch.full((2, 2, 64, 64), 3.0, requires_grad=True)
    target = torch.full((2, 2, 64, 64), 3.0 - 31.5, requires_grad=True)
    coding = MotionCoding(quantized(0.0), reconstruction, target)
    loss = motion_reconstruction_loss([coding, coding])
    assert loss.item() == pytest.approx(2.0)
    loss.backward()
    assert reconstruction.grad is not None
    assert target.grad is None


@pytest.mark.parametrize("loss", [code_loss, motion_reconstruction_loss])
def test_no_scale_is_refused(loss):
    with pytest.raises(ValueError, match="at least one scale"):
        loss([])
