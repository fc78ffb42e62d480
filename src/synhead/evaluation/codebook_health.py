"""Health of the codebooks of a checkpoint on a set of clips: use by scale, dead codes, perplexity, and a verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from synhead.data.files import replacing
from synhead.evaluation.trials import Trial
from synhead.model.talking_head import TalkingHead
from synhead.training.codes import CodeUse
from synhead.training.meters import code_meters
from synhead.types import NDArray, TrainingPass

COLLAPSED_BELOW = 0.02
"""A scale whose perplexity is below this share of the codes that it sees counts as collapsed (and below 2 always)."""

Counts = Float[NDArray[Any], "scales codes"]


@dataclass(frozen=True, slots=True)
class ScaleHealth:
    """One codebook at one scale. ``visible``: how many codes it may choose; ``first``: the first of them."""

    scale: int
    first: int
    visible: int
    use: CodeUse

    @property
    def collapsed(self) -> bool:
        """Whether the choice says next to nothing."""
        return self.use.perplexity < max(2.0, COLLAPSED_BELOW * self.visible)


@dataclass(frozen=True, slots=True)
class CodebookHealth:
    """One codebook. ``dead``: codes that no scale chose; ``counts``: how often each scale chose each code."""

    name: str
    codes: int
    dead: int
    scales: tuple[ScaleHealth, ...]
    counts: Counts

    @property
    def collapsed(self) -> tuple[int, ...]:
        """The scales that are."""
        return tuple(scale.scale for scale in self.scales if scale.collapsed)


@dataclass(frozen=True, slots=True)
class HealthReport:
    """All codebooks of a model over ``pairs`` pairs of pictures."""

    pairs: int
    codebooks: tuple[CodebookHealth, ...]

    def to_json(self) -> str:
        """Readable JSON, with the counts."""
        books = {
            book.name: {
                "codes": book.codes,
                "dead": book.dead,
                "scales": [
                    {"scale": one.scale, "visible": one.visible, "collapsed": one.collapsed, **asdict(one.use)}
                    for one in book.scales
                ],
                "counts": book.counts.astype(int).tolist(),
            }
            for book in self.codebooks
        }
        return json.dumps({"pairs": self.pairs, "codebooks": books}, indent=2) + "\n"

    def write(self, path: Path) -> None:
        """The JSON as a file, whole or not at all."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_json())


@torch.inference_mode()
def measure_codes(model: TalkingHead, trials: Iterable[Trial], *, batch: int = 8) -> HealthReport:
    """Quantise every flow and every driving feature of the trials, as training does, and count the codes chosen.

    The model in eval mode, float32, on the device of its weights; pictures of its ``image_size``.
    """
    device = next(model.parameters()).device
    counts = {name: meter.counts for name, meter in code_meters(model.config, torch.device("cpu")).items()}
    pairs = 0
    for trial in trials:
        for start in range(0, len(trial.driving), batch):
            driving = _images(trial.driving[start : start + batch], device)
            source = _images(trial.source[None], device).expand(len(driving), -1, -1, -1)
            for name, more in count_pass(model, model(source, driving, driving, low_resolution=False)).items():
                counts[name] = counts[name] + more
            pairs += len(driving)
    return report_of(model, counts, pairs)


def count_pass(model: TalkingHead, passed: TrainingPass) -> dict[str, Float[Tensor, "scales codes"]]:
    """How often each scale chose each code of each codebook in one pass."""
    meters = code_meters(model.config, passed.animation.image.device)
    chosen = {
        "motion": [coding.quantized.indices for coding in passed.motion_codes],
        "appearance": [coding.indices for coding in passed.appearance_codes],
    }
    for name, meter in meters.items():
        meter.update(chosen[name])
    return {name: meter.counts.cpu() for name, meter in meters.items()}


def report_of(model: TalkingHead, counts: dict[str, Float[Tensor, "scales codes"]], pairs: int) -> HealthReport:
    """Figures of counts by codebook."""
    books = []
    for name, meter in code_meters(model.config, torch.device("cpu")).items():
        uses = meter.report(counts[name])
        scales = tuple(_scale_health(scale, meter.rows[scale], use) for scale, use in uses.items())
        dead = int((counts[name].sum(dim=0) == 0).sum())
        books.append(CodebookHealth(name, counts[name].shape[1], dead, scales, counts[name].double().numpy()))
    return HealthReport(pairs, tuple(books))


def describe(report: HealthReport) -> Sequence[str]:
    """One line a scale, and a remedy where a codebook has collapsed."""
    lines = []
    for book in report.codebooks:
        for one in book.scales:
            lines.append(
                f"{book.name} codebook, scale {one.scale}: {one.visible - one.use.dead} of {one.visible} codes used "
                f"({one.use.used:.0%}), perplexity {one.use.perplexity:.1f}{', COLLAPSED' if one.collapsed else ''}"
            )
        lines.append(f"{book.name} codebook: {book.dead} of {book.codes} codes were chosen by no scale")
        if book.collapsed:
            lines.append(f"{book.name} codebook: train with --set training.dead_codes=split to revive its dead codes")
    return lines


def _scale_health(scale: int, rows: slice, use: CodeUse) -> ScaleHealth:
    return ScaleHealth(scale=scale, first=rows.start, visible=rows.stop - rows.start, use=use)


def _images(frames: UInt8[NDArray[np.uint8], "n h w 3"], device: torch.device) -> Float[Tensor, "n 3 h w"]:
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)
    return rearrange(pixels, "n h w rgb -> n rgb h w").float() / 127.5 - 1
