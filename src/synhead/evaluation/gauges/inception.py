"""The InceptionV3 of FID: TensorFlow's network of 2015 with its poolings, under the names of the published file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.evaluation.weight_files import INCEPTION, UnavailableError

FEATURES = 2048
_INPUT_PX = 299
Shape = tuple[int, int]


class FidInception(nn.Module):
    """Pictures in [0, 1], resized bilinearly to 299, to the 2048 averages of the last pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3)
        self.Mixed_5b = _BlockA(192, 32)
        self.Mixed_5c = _BlockA(256, 64)
        self.Mixed_5d = _BlockA(288, 64)
        self.Mixed_6a = _BlockB(288)
        self.Mixed_6b = _BlockC(128)
        self.Mixed_6c = _BlockC(160)
        self.Mixed_6d = _BlockC(160)
        self.Mixed_6e = _BlockC(192)
        self.Mixed_7a = _BlockD()
        self.Mixed_7b = _BlockE(1280, maximum=False)
        self.Mixed_7c = _BlockE(2048, maximum=True)
        self.fc = nn.Linear(FEATURES, 1008)  # in the file, not part of FID

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048"]:
        """See class."""
        x = F.interpolate(image, size=(_INPUT_PX, _INPUT_PX), mode="bilinear", align_corners=False) * 2 - 1
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, stride=2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, stride=2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features: Tensor = x.mean(dim=(2, 3))
        return features


def load_inception(state: Mapping[str, Tensor]) -> FidInception:
    """The network with the file's weights, in eval mode. Raises UnavailableError for other tensors."""
    network = FidInception()
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise UnavailableError(f"{INCEPTION.name} does not hold FID's InceptionV3: download it again") from error
    return network.eval().requires_grad_(requires_grad=False)


class _Unit(nn.Module):
    """Convolution without bias, batch norm of epsilon 1e-3, ReLU."""

    def __init__(
        self, channels: int, width: int, kernel: int | Shape, *, stride: int = 1, padding: int | Shape = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    """TensorFlow's 3 x 3 average, which leaves the padding out of account."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts), dim=1)


class _BlockA(nn.Module):
    def __init__(self, channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(channels, 64, 1)
        self.branch5x5_1 = _Unit(channels, 48, 1)
        self.branch5x5_2 = _Unit(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Unit(channels, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, padding=1)
        self.branch_pool = _Unit(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return _joined((self.branch1x1(x), five, double, self.branch_pool(_average(x))))


class _BlockB(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Unit(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Unit(channels, 64, 1)
        self.branch3x3dbl_2 = _Unit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Unit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return _joined((self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)))


class _BlockC(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = _Unit(768, 192, 1)
        self.branch7x7_1 = _Unit(768, width, 1)
        self.branch7x7_2 = _Unit(width, width, (1, 7), padding=(0, 3))
        self.branch7x7_3 = _Unit(width, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = _Unit(768, width, 1)
        self.branch7x7dbl_2 = _Unit(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = _Unit(width, width, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = _Unit(width, width, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = _Unit(width, 192, (1, 7), padding=(0, 3))
        self.branch_pool = _Unit(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return _joined((self.branch1x1(x), seven, double, self.branch_pool(_average(x))))


class _BlockD(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Unit(768, 192, 1)
        self.branch3x3_2 = _Unit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Unit(768, 192, 1)
        self.branch7x7x3_2 = _Unit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Unit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Unit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return _joined((self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)))


class _BlockE(nn.Module):
    """``maximum``: the last block pools by maximum, as TensorFlow's network did by mistake."""

    def __init__(self, channels: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = _Unit(channels, 320, 1)
        self.branch3x3_1 = _Unit(channels, 384, 1)
        self.branch3x3_2a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Unit(channels, 448, 1)
        self.branch3x3dbl_2 = _Unit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Unit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Unit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Unit(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else _average(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return _joined(parts)
