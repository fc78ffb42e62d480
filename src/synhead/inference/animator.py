"""One portrait, any number of driving frames: observe once, animate lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from synhead.config import ConfigError
from synhead.data.image import Fit, RgbImage, fit_image, read_image
from synhead.inference.motion_transfer import movement_scale, transfer_motion
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, SourceFeatures
from synhead.weights import checkpoint, hub

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorOptions:
    """How motion is transferred and frames are run.

    ``motion``: ``relative`` moves the source's keypoints as the driver's move from the reference frame; ``absolute``
    takes the driver's keypoints as they are. ``adapt_scale``: relative movements are scaled by the sizes of the two
    faces (hulls of keypoints). ``batch_size``: driving frames run together. ``fit``: how inputs become squares.
    """

    motion: Literal["relative", "absolute"] = "relative"
    adapt_scale: bool = True
    batch_size: int = 8
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size} must be positive")
        if self.motion not in ("relative", "absolute"):
            raise ConfigError(f"motion {self.motion!r} must be 'relative' or 'absolute'")
        if self.fit not in ("crop", "stretch", "pad"):
            raise ConfigError(f"fit {self.fit!r} must be 'crop', 'stretch' or 'pad'")


class Animator:
    """A talking-head model ready to run: the portrait is encoded once, driving frames stream through.

    Example:
        >>> animator = Animator.from_pretrained("weights/base")  # doctest: +SKIP
        >>> animator.observe(Path("portrait.jpg"))  # doctest: +SKIP
        >>> for image in animator.animate(frames): ...  # doctest: +SKIP
    """

    def __init__(
        self, model: TalkingHead, options: AnimatorOptions | None = None, *, precision: Precision = "fp32"
    ) -> None:
        self.model = model.eval()
        self.options = options or AnimatorOptions()
        self.precision: Precision = precision
        self.device = next(model.parameters()).device
        self._source: SourceFeatures | None = None
        self._portrait: RgbImage | None = None

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        device: str = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
        options: AnimatorOptions | None = None,
    ) -> Animator:
        """Load a checkpoint folder or hub id. ``auto``: a GPU if there is one; bf16 where the GPU has it, else fp32.

        Raises ConfigError for a device that is not there, CheckpointError for weights that cannot be loaded.
        """
        chosen = select_device(device)
        model = checkpoint.load(hub.resolve(str(path_or_id)), device=str(chosen))
        return cls(model, options, precision=select_precision(precision, chosen))

    @property
    def image_size(self) -> int:
        """Side of all input and output images in pixels."""
        return self.model.config.image_size

    @property
    def portrait(self) -> RgbImage:
        """The observed source as the model sees it: a square of ``image_size``. RuntimeError before observe."""
        if self._portrait is None:
            raise RuntimeError("no portrait yet: call observe(portrait) first")
        return self._portrait

    def observe(self, source: RgbImage | Image.Image | Path | str) -> None:
        """Take the portrait to animate: its features, keypoints and codebook keys and values, computed once.

        Raises MediaError if a path does not lead to a readable image.
        """
        if isinstance(source, (str, Path)):
            source = read_image(Path(source))
        elif isinstance(source, Image.Image):
            source = np.array(source.convert("RGB"))
        portrait = fit_image(source, self.image_size, self.options.fit)
        with torch.inference_mode():
            self._source = self.model.observe(self._tensor([portrait]))
        self._portrait = portrait

    def animate(self, frames: Iterable[RgbImage], *, reference: RgbImage | None = None) -> Iterator[RgbImage]:
        """The portrait in the pose of each frame, in order, square and 8-bit; ``batch_size`` frames are held at most.

        ``reference``: the driving frame whose pose is taken to be the portrait's in relative motion; default: the
        first. Raises RuntimeError before observe.
        """
        if self._source is None:
            raise RuntimeError("no portrait yet: call observe(portrait) first")
        return self._animate(self._source, frames, reference)

    def _animate(
        self, source: SourceFeatures, frames: Iterable[RgbImage], reference: RgbImage | None
    ) -> Iterator[RgbImage]:
        origin = None if reference is None else self._keypoints([reference])
        scale: float | None = None
        for batch in _batches(frames, self.options.batch_size):
            driving = self._keypoints(batch)
            if self.options.motion == "relative":
                origin = origin or Keypoints(position=driving.position[:1], jacobian=driving.jacobian[:1])
                if scale is None:
                    scale = movement_scale(source.keypoints, origin) if self.options.adapt_scale else 1.0
                driving = transfer_motion(source.keypoints, driving, origin, scale=scale)
            yield from self._render(source, driving)

    def _keypoints(self, frames: Sequence[RgbImage]) -> Keypoints:
        """In float32 at any precision: keypoints are a small part of the work, and rounding them would jitter."""
        with torch.inference_mode():
            images = [fit_image(frame, self.image_size, self.options.fit) for frame in frames]
            found: Keypoints = self.model.keypoint_detector(self._tensor(images))
            return found

    def _render(self, source: SourceFeatures, driving: Keypoints) -> Iterator[RgbImage]:
        with torch.inference_mode(), self._autocast():
            image = self.model.animate(source, driving).image
            pixels = ((image.float().clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8)
            array = rearrange(pixels, "b rgb h w -> b h w rgb").cpu().numpy()
        return iter(array)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _tensor(self, images: Sequence[RgbImage]) -> Float[Tensor, "b 3 H W"]:
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        return rearrange(batch, "b h w rgb -> b rgb h w").float() / 127.5 - 1


def select_device(name: str) -> torch.device:
    """``auto``: the first GPU, else the CPU. Raises ConfigError if the named device is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; choose auto, cpu, cuda or cuda:<number>") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name} is not available here; choose auto or cpu")
    return device


def select_precision(name: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """``auto``: bf16 on GPUs that compute in it, else fp32."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return name


def _batches(frames: Iterable[RgbImage], size: int) -> Iterator[list[RgbImage]]:
    remaining = iter(frames)
    while batch := list(islice(remaining, size)):
        yield batch
