"""Feature extractors of the perceptual loss behind one interface. Their files: ``feature_weights``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.config import ConfigError, UserError
from synhead.nn.conv import compared, normalized, rectified


class PerceptualWeightsError(UserError, ValueError):
    """Weights of the perceptual network are missing or unusable; the message is one line with the remedy."""


@runtime_checkable
class FeatureExtractor(Protocol):
    """A frozen network that describes images in [-1, 1] by feature maps of several depths."""

    minimum_size: int
    """Smallest side in pixels at which every feature map still has an element."""

    def __call__(self, image: Tensor) -> tuple[Tensor, ...]:
        """``b 3 h w`` to one map ``b c_l h_l w_l`` a layer."""
        ...

    def distances(self, image: Tensor, targets: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """E[|.|] of each layer's maps of ``mb 3 h w`` from ``targets`` of ``b 3 h w``, m values a layer.

        One value for each of m sets of images, one after the other in the batch; ``targets`` get no gradient.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Stages of 3 x 3 convolutions with ReLU, a 2 x 2 maximum between stages.

    ``widths`` and ``depths``: channels and number of convolutions of each stage; as the features are those after the
    first ReLU of a stage, the last stage needs depth 1. First comes (image - mean) / std, on values in [-1, 1].
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if not self.widths or len(self.widths) != len(self.depths) or min(*self.widths, *self.depths) < 1:
            raise ConfigError("trunk: widths and depths need one positive number a stage each")
        if self.depths[-1] != 1:
            raise ConfigError("trunk: the last stage must have depth 1: nothing after its first ReLU is used")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError("trunk: mean and std need three numbers, one a colour, and std positive ones")


VGG19 = TrunkConfig(widths=(64, 128, 256, 512, 512), depths=(2, 2, 4, 4, 1))
"""VGG19 up to relu5_1: taps relu1_1 .. relu5_1, indices 1, 6, 11, 20, 29 of torchvision's ``features`` (spec C).

ImageNet's mean and standard deviation are applied directly to values in [-1, 1], as published."""


VGG16 = TrunkConfig(
    widths=(64, 128, 256, 512, 512), depths=(2, 2, 3, 3, 1), mean=(-0.03, -0.088, -0.188), std=(0.458, 0.448, 0.45)
)
"""VGG16 up to relu5_1: taps relu1_1 .. relu5_1. ImageNet's mean and standard deviation as they are on [-1, 1]."""


class TrunkFeatures(nn.Module):
    """A plain convolutional trunk (:class:`TrunkConfig`), frozen, with torchvision's names ``features.<n>.weight``."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig, state: Mapping[str, Tensor]) -> None:
        """Takes the tensors of ``state`` as float32 parameters; names outside the trunk are ignored.

        Raises PerceptualWeightsError naming missing or ill-shaped tensors.
        """
        super().__init__()
        self.config = config
        self.minimum_size: int = 2 ** (len(config.widths) - 1)
        self.taps: tuple[int, ...]
        self.features, self.taps = _trunk(config)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        self.load_state_dict(_select(self.state_dict(), state), assign=True)
        self.requires_grad_(requires_grad=False)
        self.eval()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> tuple[Tensor, ...]:
        """Feature maps after the first ReLU of each stage, each half the size of the one before."""
        found: list[Tensor] = []

        def keep(layer: nn.Conv2d, x: Tensor) -> Tensor:
            found.append(rectified(layer, x))
            return found[-1]

        self._walk(image, keep)
        return tuple(found)

    def distances(self, image: Float[Tensor, "mb 3 h w"], targets: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """E[|.|] of each feature map from its target, whose batch is b: m values each. Made layer by layer.

        The kernels join a comparison's gradient with the next layer's, which :meth:`forward` leaves to autograd.
        """
        found: list[Tensor] = []

        def compare(layer: nn.Conv2d, x: Tensor) -> Tensor:
            feature, distance = compared(layer, x, targets[len(found)])
            found.append(distance)
            return feature

        self._walk(image, compare)
        return tuple(found)

    def _walk(self, image: Tensor, tap: Callable[[nn.Conv2d, Tensor], Tensor]) -> None:
        """Through all layers; ``tap``: applies a tapped convolution and its ReLU."""
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        x = normalized(first, image, self.mean, self.std)
        ends = {index - 2 for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)}
        for index, layer in enumerate(self.features):
            if not isinstance(layer, nn.Conv2d):  # ReLU and maximum are done with the convolution before them
                continue
            if index + 1 in self.taps:
                x = tap(layer, x)
                x = F.max_pool2d(x, 2) if index in ends else x
            else:
                x = rectified(layer, x, pooled=index in ends)

    def train(self, mode: bool = True) -> TrunkFeatures:  # noqa: FBT001, FBT002, ARG002 - signature of nn.Module
        """Always in evaluation mode: it is not trained along."""
        return super().train(mode=False)


def _trunk(config: TrunkConfig) -> tuple[nn.Sequential, tuple[int, ...]]:
    layers: list[nn.Module] = []
    taps = []
    width = 3
    for stage, (out, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        if stage:
            layers.append(nn.MaxPool2d(2))
        taps.append(len(layers) + 1)
        for _ in range(depth):
            layers += [nn.Conv2d(width, out, 3, padding=1, device="meta"), nn.ReLU(inplace=True)]
            width = out
    return nn.Sequential(*layers), tuple(taps)


def _select(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    missing = [name for name in wanted if name not in state]
    if missing:
        raise PerceptualWeightsError(
            f"perceptual weights lack {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}: "
            "a state dict with torchvision's names features.<n>.weight and .bias is needed"
        )
    for name, tensor in wanted.items():
        if state[name].shape != tensor.shape:
            raise PerceptualWeightsError(
                f"perceptual weights: {name} has shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}: "
                "is it another network's file?"
            )
    return {name: state[name].detach().to(torch.float32) for name in wanted}


def random_trunk(config: TrunkConfig = VGG19, *, seed: int = 0) -> TrunkFeatures:
    """Random weights compare images almost as well as trained ones (Liu 2021, arXiv 2103.10571) and need no file.

    He-normal weights (variance 2 / (9 c_in)), drawn layer by layer from a CPU generator with that seed; zero biases.
    The same on every machine with the same PyTorch version.
    """
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for index, layer in enumerate(_trunk(config)[0]):
        if isinstance(layer, nn.Conv2d):
            std = math.sqrt(2 / (9 * layer.in_channels))
            state[f"features.{index}.weight"] = std * torch.randn(layer.weight.shape, generator=generator)
            state[f"features.{index}.bias"] = torch.zeros(layer.out_channels)
    return TrunkFeatures(config, state)
