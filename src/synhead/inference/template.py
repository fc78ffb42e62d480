"""A motion template: a driver's keypoints with their exact times, recorded once, followed as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import torch

from synhead.config import UserError
from synhead.inference.fingerprint import ModelFingerprint
from synhead.inference.keypoint_stream import rows
from synhead.inference.recorded_faces import RecordedFaces
from synhead.types import Keypoints

MAX_FRAMES = 1_000_000
MAX_KEYPOINTS = 256
SHOWN_DIGITS = 12


class TemplateError(UserError, ValueError):
    """A motion template that cannot be used; the message is one line and names the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOrigin:
    """Where a template comes from.

    ``model``: the detector that found the keypoints; ``checkpoint`` is what its user called it. ``fit``: how frames
    became squares. ``crop``: free text of whoever chose the square, JSON by custom.
    """

    model: ModelFingerprint
    checkpoint: str = ""
    fit: str = "crop"
    crop: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionTemplate:
    """All frames' keypoints (float32, on the CPU) with times and durations as in the clip they were recorded from.

    ``rate``: frames a second. ``time_base``: seconds a timestamp unit. ``reference``: the frame whose pose is most
    like a portrait's, where someone knew. ``faces``: those of the clip, by which it is found for each portrait. Without
    either the first frame serves. Raises TemplateError if anything does not fit.
    """

    keypoints: Keypoints
    times: tuple[Fraction, ...]
    durations: tuple[Fraction, ...]
    rate: Fraction
    time_base: Fraction
    origin: TemplateOrigin
    reference: int | None = None
    faces: RecordedFaces | None = None

    def __post_init__(self) -> None:
        position, jacobian = self.keypoints.position, self.keypoints.jacobian
        count = len(self)
        _require(0 < count <= MAX_FRAMES, f"it has {count} frames; 1 to {MAX_FRAMES} are possible")
        _require(position.dtype == jacobian.dtype == torch.float32, "its keypoints are not float32")
        _require(position.isfinite().all() and jacobian.isfinite().all(), "it has keypoints that are no numbers")
        _require(len(self.times) == len(self.durations) == count, "it has not one time for each frame")
        _require(all(a < b for a, b in pairwise(self.times)), "its times do not grow")
        _require(
            min(self.durations) > 0 and self.rate > 0 and self.time_base > 0, "it has durations that are not above 0"
        )
        _require(
            self.reference is None or 0 <= self.reference < count,
            f"it has no frame {self.reference} to refer to, only 0 to {count - 1}",
        )
        _require(self.faces is None or len(self.faces) == count, "it has not one face for each frame")
        _require(self.faces is None or self.faces.sound, "it has faces that are measured in part only")

    def __len__(self) -> int:
        return self.keypoints.position.shape[0]

    def motion(self, batch_size: int, *, device: torch.device | str = "cpu") -> Iterator[Keypoints]:
        """What ``Animator.track`` yields for the clip, in the same batches; for ``Animator.follow``."""
        for begin in range(0, len(self), batch_size):
            yield _on(rows(self.keypoints, begin, begin + batch_size), device)

    def frame(self, index: int, *, device: torch.device | str = "cpu") -> Keypoints:
        """One frame, to be ``reference`` of ``Animator.follow``. TemplateError if there is none of that index."""
        if not 0 <= index < len(self):
            raise TemplateError(f"the template has no frame {index}; choose one from 0 to {len(self) - 1}")
        return _on(rows(self.keypoints, index, index + 1), device)

    def check_model(self, model: ModelFingerprint, *, name: str = "this template") -> None:
        """TemplateError unless it was recorded with that detector; ``name`` is what the message calls the template."""
        ours = self.origin.model
        if ours == model:
            return
        kind = "weights" if ours.config == model.config else "configuration"
        theirs, given = (ours.weights, model.weights) if kind == "weights" else (ours.config, model.config)
        called = f" ({self.origin.checkpoint})" if self.origin.checkpoint else ""
        raise TemplateError(
            f"{name} was recorded with a motion estimator of {kind} {theirs[:SHOWN_DIGITS]}{called}, but the loaded "
            f"one has {given[:SHOWN_DIGITS]}; load those weights, or record the clip again with these (synhead record)"
        )


def _require(holds: object, problem: str) -> None:
    if not holds:
        raise TemplateError(f"the motion cannot be followed, {problem}; record it again (synhead record)")


def _on(keypoints: Keypoints, device: torch.device | str) -> Keypoints:
    return Keypoints(position=keypoints.position.to(device), jacobian=keypoints.jacobian.to(device))
