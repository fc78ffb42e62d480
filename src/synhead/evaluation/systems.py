"""What is measured: this model, the two things it must beat, and any other system, by its results or by its command."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from synhead.data.errors import MediaError
from synhead.data.image import write_image
from synhead.data.records import frame_paths
from synhead.data.video import VideoWriter
from synhead.evaluation.folders import read_video, save_pictures
from synhead.evaluation.gauges.gauge import Frames
from synhead.evaluation.trials import Trial
from synhead.weights.errors import CheckpointError

_RATE = Fraction(25)


class ResultError(RuntimeError):
    """A system has no usable result for a trial; the message says why, in one line."""


@runtime_checkable
class System(Protocol):
    """Makes, or has made, a picture of each driving frame."""

    @property
    def name(self) -> str:
        """Of its row."""

    @property
    def detail(self) -> str:
        """How its results came about, for the report."""

    def frames(self, trial: Trial) -> Frames:
        """One picture a driving frame, if the system did its work. Raises ResultError."""


@dataclass(frozen=True, slots=True)
class RenderedSystem:
    """Rendered here and now."""

    name: str
    detail: str
    render: Callable[[Trial], Frames]

    def frames(self, trial: Trial) -> Frames:
        """See System."""
        try:
            return self.render(trial)
        except CheckpointError as error:
            raise ResultError(str(error)) from error


@dataclass(frozen=True, slots=True)
class FolderSystem:
    """Results that lie in ``folder`` under the names of the trials, as videos or folders of pictures.

    Where trials are samples of clips, results may be of the whole clips. ``size``: resize them to it.
    """

    name: str
    folder: Path
    size: int | None = None

    @property
    def detail(self) -> str:
        """See System."""
        return f"results read from a folder{_resized(self.size)}"

    def frames(self, trial: Trial) -> Frames:
        """See System."""
        for suffix in ("", ".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v"):
            path = self.folder / f"{trial.name}{suffix}"
            if path.exists():
                return _sampled(_readable(path, self.size), trial)
        raise ResultError(f"no result named {trial.name}")


@dataclass(frozen=True, slots=True)
class CommandSystem:
    """A program run once a trial. In ``template``, these names in braces stand for paths in a folder of the trial:

    ``source`` (PNG), ``driving`` (video of all driving frames, H.264 without loss but for its colour sampling),
    ``driving_frames`` (folder of PNG), ``output`` (video the program writes) and ``output_frames`` (folder of pictures
    it may write instead, preferred because it is lossless). No shell is involved.
    """

    name: str
    template: str
    workspace: Path
    size: int | None = None

    @property
    def detail(self) -> str:
        """See System."""
        return f"command{_resized(self.size)}: {self.template}"

    def frames(self, trial: Trial) -> Frames:
        """See System."""
        folder = (self.workspace / trial.name).resolve()
        places = {
            "source": folder / "source.png",
            "driving": folder / "driving.mp4",
            "driving_frames": folder / "driving",
            "output": folder / "output.mp4",
            "output_frames": folder / "output",
        }
        _prepare(trial, places)
        command = [_filled(word, places) for word in shlex.split(self.template)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise ResultError(f"{command[0]} could not be started ({error})") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise ResultError(f"the command ended with code {done.returncode}: {said}")
        made = places["output_frames"] if any(frame_paths(places["output_frames"])) else places["output"]
        if not made.exists():
            raise ResultError("the command wrote neither {output} nor pictures in {output_frames}")
        return _readable(made, self.size)


def _resized(size: int | None) -> str:
    return "" if size is None else f", as squares of {size} pixels"


def _prepare(trial: Trial, places: dict[str, Path]) -> None:
    places["output_frames"].mkdir(parents=True, exist_ok=True)
    places["driving_frames"].mkdir(exist_ok=True)
    for old in (places["output"], *frame_paths(places["output_frames"]), *frame_paths(places["driving_frames"])):
        old.unlink(missing_ok=True)
    write_image(places["source"], trial.source)
    save_pictures(places["driving_frames"], trial.driving)
    height, width = trial.driving.shape[1:3]
    with VideoWriter(places["driving"], rate=_RATE, size=(width, height), crf=0) as writer:
        for frame in trial.driving:
            writer.write(frame)


def _filled(word: str, places: dict[str, Path]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(places.get(found[1], found[0])), word)


def _readable(path: Path, size: int | None) -> Frames:
    try:
        return read_video(path, size)
    except MediaError as error:
        raise ResultError(str(error)) from error


def _sampled(frames: Frames, trial: Trial) -> Frames:
    """Frames of a whole clip at the trial's indices; others as they are. Raises ResultError if the trial is a sample
    and frames are neither of the clip nor of the sample: their first ones are no counterparts of the trial's.
    """
    whole, count = trial.clip_frames, len(trial.indices)
    if whole is None or whole == count or len(frames) == count:
        return frames
    if len(frames) != whole:
        raise ResultError(f"{len(frames)} frames, neither all {whole} of the clip nor the {count} that are measured")
    return np.ascontiguousarray(frames[list(trial.indices)])
