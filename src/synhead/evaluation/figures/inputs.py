"""What a figure is drawn from: a portrait and a driver as a trial, and frames of several systems for such trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.data.files import check_input
from synhead.data.image import IMAGE_SUFFIXES, RgbImage, fit_image, read_image
from synhead.data.video import VIDEO_SUFFIXES, probe, read_frames
from synhead.evaluation.renderers import ModelRenderer
from synhead.evaluation.trials import Trial, driving_indices
from synhead.model.talking_head import TalkingHead
from synhead.types import NDArray
from synhead.weights import checkpoint

Frames = UInt8[NDArray[np.uint8], "_ _ _ 3"]
_UNKNOWN_LENGTH = 250


def read_pair(source: Path, driving: Path, size: int, *, frame: int | None = None, count: int = 10) -> Trial:
    """A portrait, and frames of a driving video (or one driving picture) as squares of ``size`` pixels.

    ``frame``: only that one; else ``count`` evenly spaced. Raises MediaError.
    """
    portrait = fit_image(read_image(source), size)
    name = f"{source.stem}>{driving.stem}"
    if driving.suffix.lower() in IMAGE_SUFFIXES:
        return Trial(name, portrait, fit_image(read_image(driving), size)[None], (0,))
    check_input(driving)
    length = probe(driving).frames or _UNKNOWN_LENGTH
    indices = driving_indices(length, count) if length > 1 else (0,)
    chosen, frames = _pick(driving, indices if frame is None else (frame,), size)
    if not frames:
        raise MediaError(f"{driving} has no frame {indices[0] if frame is None else frame}; it has about {length}")
    return Trial(name, portrait, np.stack(frames), chosen)


def named_paths(texts: Sequence[str], *, taken: str) -> dict[str, Path]:
    """``NAME=PATH`` texts. Raises ConfigError for others, and for a name that comes twice or is ``taken``."""
    named: dict[str, Path] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        if not sign or not name or not path:
            raise ConfigError(f"{text}: expected NAME=PATH, such as baseline=runs/baseline/weights")
        if name in named or name == taken:
            raise ConfigError(f"the name {name} comes twice; give each system a name of its own")
        named[name] = Path(path)
    return named


def render(model: TalkingHead, trials: Sequence[Trial]) -> dict[str, Frames]:
    """The model's frames by trial, across identities relative to the trial's reference frame."""
    renderer = ModelRenderer(model)
    return {trial.name: renderer.trial(trial) for trial in trials}


def system_frames(path: Path, trials: Sequence[Trial], *, device: torch.device) -> dict[str, Frames]:
    """Frames of one system: a checkpoint folder (rendered now), or a folder of videos that it made, one a trial.

    A video is named as its trial, ``>`` written as ``__``, and shows the result for every frame of the driver.
    Raises CheckpointError, MediaError, or ConfigError for a checkpoint of another image size.
    """
    if path.is_dir() and any((path / f"{_file_stem(trials[0])}{suffix}").is_file() for suffix in VIDEO_SUFFIXES):
        return {trial.name: _read_result(path, trial) for trial in trials}
    if path.is_dir() and not (path / checkpoint.CONFIG_FILE).is_file():
        raise MediaError(
            f"{path} holds neither a checkpoint nor a video {_file_stem(trials[0])}.mp4: videos to compare with are "
            "named SOURCE__DRIVING, or as the clip"
        )
    model = checkpoint.load(path, device=device)
    size = trials[0].source.shape[0]
    if model.config.image_size != size:
        raise ConfigError(f"{path} makes pictures of {model.config.image_size} px, not {size}: it cannot be compared")
    return render(model, trials)


def _read_result(folder: Path, trial: Trial) -> Frames:
    paths = [folder / f"{_file_stem(trial)}{suffix}" for suffix in VIDEO_SUFFIXES]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise MediaError(f"{folder} holds no video {_file_stem(trial)}; give one for each example")
    chosen, frames = _pick(path, trial.indices, trial.source.shape[0])
    if chosen != trial.indices:
        raise MediaError(f"{path} is shorter than its driver; it must show every frame of it")
    return np.stack(frames)


def _file_stem(trial: Trial) -> str:
    return trial.name.replace(">", "__")


def _pick(path: Path, indices: Sequence[int], size: int) -> tuple[tuple[int, ...], list[RgbImage]]:
    """Those of the frames that exist, decoding no further than needed."""
    wanted, chosen, frames = set(indices), [], []
    for index, frame in enumerate(read_frames(path, size=size)):
        if index in wanted:
            chosen.append(index)
            frames.append(frame.image)
        if index >= max(wanted):
            break
    return tuple(chosen), frames
