from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from synhead.losses.filters import filter_image
from synhead.nn.blocks import AntialiasDownscale, antialias_kernel

LINE = (0.1, 0.2, 0.4, 0.2, 0.1)


@pytest.mark.parametrize("reflect", [False, True])
@pytest.mark.parametrize(("height", "width", "stride"), [(16, 16, 1), (17, 12, 2), (9, 20, 4)])
def test_it_is_the_convolution(height: int, width: int, stride: int, *, reflect: bool) -> None:
    image = torch.rand(2, 3, height, width, dtype=torch.float64)
    padded = F.pad(image, (2, 2, 2, 2), mode="reflect" if reflect else "constant")
    line = torch.tensor(LINE, dtype=torch.float64)
    kernel = (line[:, None] * line).expand(3, 1, 5, 5)
    torch.testing.assert_close(
        filter_image(image, LINE, stride=stride, reflect=reflect), F.conv2d(padded, kernel, stride=stride, groups=3)
    )


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_it_is_the_published_downscaling(factor: int) -> None:
    image = torch.rand(1, 3, 64, 64)
    line = tuple(antialias_kernel(factor)[0, 0].double().sum(dim=0).tolist())
    torch.testing.assert_close(filter_image(image, line, stride=factor), AntialiasDownscale(3, factor)(image))
