import numpy as np
import pytest
import torch

from synhead.config import preset
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints


@pytest.fixture(scope="session")
def model() -> TalkingHead:
    """The tiny model with random weights in which keypoints and Jacobians depend on the image."""
    torch.manual_seed(0)
    model = TalkingHead(preset("tiny")).eval()
    with torch.no_grad():
        for name, parameter in model.keypoint_detector.named_parameters():
            if "jacobian" in name and name.endswith("weight"):
                parameter.normal_(std=0.05)
    return model


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    return blobs(0)


def blobs(seed: int, size: int = 64) -> np.ndarray:
    """A smooth random picture."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.random((1, 3, 6, 6)))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return (fine[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def keypoints(batch: int, seed: int, count: int = 15) -> Keypoints:
    """Random keypoints with Jacobians near the identity."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, count, 2, 2, generator=generator) * 0.2
    return Keypoints(position=torch.rand(batch, count, 2, generator=generator) - 0.5, jacobian=torch.eye(2) + noise)
