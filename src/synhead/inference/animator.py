"""One portrait, any number of driving frames: observe once, animate lazily."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from synhead.config import ConfigError
from synhead.data.image import Fit, RgbImage, check_rgb, fit_image, opaque_srgb, read_image
from synhead.inference.engine import EagerEngine, Engine, OverlappingEngine, Pending, Precision
from synhead.inference.engines import PRECISIONS, EngineOptions, engine_for, make_engine
from synhead.inference.fingerprint import ModelFingerprint, fingerprint
from synhead.inference.keypoint_stream import batches_of, rows
from synhead.inference.lids import move_lids
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.motion_parts import keep_part
from synhead.inference.motion_transfer import movement_scale, transfer_motion
from synhead.inference.smoothing import smooth
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, SourceFeatures
from synhead.weights import checkpoint, hub

MIN_BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorOptions:
    """How motion is transferred and frames are run.

    ``motion``: ``relative`` moves the source's keypoints as the driver's move from the reference frame; ``absolute``
    takes the driver's keypoints as they are. ``adapt_scale``: relative movements are scaled by the sizes of the two
    faces (hulls of keypoints). ``edits``: what is done to the motion. ``batch_size``: driving frames run together.
    ``fit``: how inputs become squares.
    """

    motion: Literal["relative", "absolute"] = "relative"
    adapt_scale: bool = True
    edits: MotionEdits = field(default_factory=MotionEdits)
    batch_size: int = 8
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size {self.batch_size} must be positive")
        if self.motion not in ("relative", "absolute"):
            raise ConfigError(f"motion {self.motion!r} must be 'relative' or 'absolute'")
        if self.fit not in ("crop", "stretch", "pad"):
            raise ConfigError(f"fit {self.fit!r} must be 'crop', 'stretch' or 'pad'")
        if self.motion == "absolute" and self.edits.need_reference:
            raise ConfigError("a motion multiplier and parts of a motion need a reference: choose relative motion")


class Animator:
    """A talking-head model ready to run: the portrait is encoded once, driving frames stream through.

    Example:
        >>> animator = Animator.from_pretrained("weights/base")  # doctest: +SKIP
        >>> animator.observe(Path("portrait.jpg"))  # doctest: +SKIP
        >>> for image in animator.animate(frames): ...  # doctest: +SKIP
    """

    def __init__(
        self,
        model: TalkingHead,
        options: AnimatorOptions | None = None,
        *,
        precision: Precision = "fp32",
        engine: Engine | None = None,
    ) -> None:
        self.model = model.eval()
        self.options = options or AnimatorOptions()
        self.engine: Engine = engine or EagerEngine(model, precision=precision)
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

        The engine is the one that ``engine_for`` names.

        Raises ConfigError for a device or precision that is not there, CheckpointError for weights that cannot be
        loaded.
        """
        chosen = select_device(device)
        model = checkpoint.load(hub.resolve(str(path_or_id)), device=str(chosen))
        rounded = select_precision(precision, chosen)
        how = EngineOptions(name=engine_for(chosen, rounded), precision=rounded)
        return cls(model, options, engine=make_engine(model, how))

    @property
    def image_size(self) -> int:
        """Side of all input and output images in pixels."""
        return self.engine.image_size

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.engine.device

    @property
    def precision(self) -> Precision:
        """Of convolutions and matrix products."""
        return self.engine.precision

    @cached_property
    def fingerprint(self) -> ModelFingerprint:
        """Of the keypoint detector: which weights a recorded motion belongs to."""
        return fingerprint(self.model)

    @property
    def portrait(self) -> RgbImage:
        """The observed source as the model sees it: a square of ``image_size``. RuntimeError before observe."""
        if self._portrait is None:
            raise RuntimeError("no portrait yet: call observe(portrait) first")
        return self._portrait

    def observe(self, source: RgbImage | Image.Image | Path | str) -> None:
        """Take the portrait to animate: its features, keypoints and codebook keys and values, computed once.

        An image of Pillow's is taken as it is, transparency on white; its EXIF data and colour profile are not used, as
        those of a file are. Raises MediaError if a path does not lead to a readable image, and for other arrays.
        """
        if isinstance(source, (str, Path)):
            source = read_image(Path(source))
        elif isinstance(source, Image.Image):
            source = np.array(opaque_srgb(source, None))
        portrait = self._square(source)
        self._source = self.engine.observe(portrait)
        self._portrait = portrait

    def animate(self, frames: Iterable[RgbImage], *, reference: RgbImage | None = None) -> Iterator[RgbImage]:
        """The portrait in the pose of each frame, in order, square and 8-bit; ``batch_size`` frames are held at most.

        ``reference``: the driving frame whose pose is taken to be the portrait's in relative motion; default: the
        first. Raises RuntimeError before observe, MediaError for a frame that is no 8-bit RGB.
        """
        origin = None if reference is None else next(self.track([reference]))
        return self.follow(self.track(frames), reference=origin)

    def track(self, frames: Iterable[RgbImage]) -> Iterator[Keypoints]:
        """The driver's keypoints, lazily, ``batch_size`` frames at a time, in float32.

        The network always sees full batches, of two frames at least: kernels, and with them the last bit of a result,
        depend on the size of a batch. So a frame has the same keypoints wherever it stands, also alone.
        """
        full = max(MIN_BATCH, self.options.batch_size)
        for batch in _batches(frames, self.options.batch_size):
            squares = [self._square(frame) for frame in batch]
            found = self.engine.keypoints(squares + squares[-1:] * (full - len(squares)))
            yield rows(found, 0, len(squares))

    def follow(self, motion: Iterable[Keypoints], *, reference: Keypoints | None = None) -> Iterator[RgbImage]:
        """The portrait with the driver's motion: batches of keypoints from :meth:`track`, or recorded ones.

        ``reference``: as in :meth:`animate`, of batch 1. Raises RuntimeError before observe.
        """
        if self._source is None:
            raise RuntimeError("no portrait yet: call observe(portrait) first")
        return self._follow(self._source, motion, reference)

    def _square(self, image: RgbImage) -> RgbImage:
        check_rgb(image)
        return fit_image(image, self.image_size, self.options.fit)

    def _follow(
        self, source: SourceFeatures, motion: Iterable[Keypoints], origin: Keypoints | None
    ) -> Iterator[RgbImage]:
        gain = self.model.config.lid_gain
        moved = (move_lids(driving, source.keypoints, gain) for driving in self._moved(source, motion, origin))
        if self.device.type == "cuda" and self.options.batch_size > 1 and isinstance(self.engine, OverlappingEngine):
            yield from _one_ahead(self.engine, source, moved)
        else:
            for driving in moved:
                yield from self.engine.render(source, driving)

    def _moved(
        self, source: SourceFeatures, motion: Iterable[Keypoints], origin: Keypoints | None
    ) -> Iterator[Keypoints]:
        """The source's keypoints as the driver moves them, or the driver's own."""
        edits = self.options.edits
        if edits.smoothing is not None:
            motion = batches_of(smooth(motion, edits.smoothing), self.options.batch_size)
        scale: float | None = None
        for driving in motion:
            if self.options.motion == "relative":
                # A frame depends on no other but the reference, so that one reference in the middle of a clip serves
                # both directions; spec E's two clips, one of them reversed, are the same pictures.
                origin = origin or rows(driving, 0, 1)
                if scale is None:
                    scale = movement_scale(source.keypoints, origin) if self.options.adapt_scale else 1.0
                part = keep_part(driving, origin, edits.parts)
                yield transfer_motion(source.keypoints, part, origin, scale=scale, multiplier=edits.multiplier)
            else:
                yield driving


def _one_ahead(engine: OverlappingEngine, source: SourceFeatures, moved: Iterable[Keypoints]) -> Iterator[RgbImage]:
    """While the caller uses the pictures of a batch, the next one is drawn."""
    pending: Pending | None = None
    for driving in moved:
        following = engine.submit(source, driving)
        if pending is not None:
            yield from pending.result()
        pending = following
    if pending is not None:
        yield from pending.result()


def select_device(name: str) -> torch.device:
    """``auto``: the first GPU, else the CPU. Raises ConfigError, which names those that are there, for another one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"unknown device {name!r}; choose auto or one of: {', '.join(_devices())}") from error
    if not _usable(device):
        raise ConfigError(f"device {name} is not available here; choose auto or one of: {', '.join(_devices())}")
    return device


def _usable(device: torch.device) -> bool:
    """Whether it computes here: torch knows the names of many devices that this machine, or its own build, lacks."""
    if device.type == "cpu":
        return True
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    try:
        return bool((torch.ones(1, device=device) + 1).item() == 2)
    except Exception:  # each kind fails in its own way
        return False


def _devices() -> list[str]:
    """Names of what computes here."""
    found = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    other = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found if other is None or other.type == "cuda" else [*found, other.type]


def select_precision(name: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """``auto``: bf16 on GPUs that compute in it, else fp32. Raises ConfigError for another one than these."""
    if name == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if name not in PRECISIONS:
        raise ConfigError(f"unknown precision {name!r}; choose auto or one of: {', '.join(PRECISIONS)}")
    return name


def _batches(frames: Iterable[RgbImage], size: int) -> Iterator[list[RgbImage]]:
    remaining = iter(frames)
    while batch := list(islice(remaining, size)):
        yield batch
