"""How far lids follow: openings of eyes in pictures beside the driver's, for some gains of the lids (needs mediapipe).

    python benchmarks/lids.py --data clips --split train --clips 60 --gains 1 1.5 2

Of each person's first clip the first frame is the source; driving frames are the one with the eyes least open, the
one most open, and the middle one of a dozen. A row gives, over all of them, the mean error of the opening, the slope
of the picture's change over the driver's (1: eyes close as far as the driver's), the same two where the driver closes
the eyes by more than 0.03, and PSNR. Choose a gain on training clips; the held-out ones say what it is worth.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synhead.data.clips import open_clips
from synhead.data.decode import CLIP_ERRORS, decode_clip
from synhead.evaluation.face_metrics import eye_opening
from synhead.evaluation.image_metrics import psnr_db
from synhead.evaluation.renderers import ModelRenderer
from synhead.faces.analyzer import FaceAnalyzer
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.model.talking_head import TalkingHead
from synhead.weights.checkpoint import load

Picture = NDArray[np.uint8]

_LOOKED_AT = 12
_CLOSING = 0.03


class Seen(NamedTuple):
    """Openings of the eyes in source, driving frame and picture, and the picture's PSNR in dB."""

    source: float
    driving: float
    drawn: float
    psnr: float


class Row(NamedTuple):
    """What a gain does."""

    error: float
    slope: float
    closing_error: float
    closing_slope: float
    psnr: float


def summary(seen: Sequence[Seen]) -> Row:
    """Over all frames, and over those in which the driver closes the eyes. Not a number where there are none."""
    table = np.array(seen, dtype=np.float64).reshape(-1, len(Seen._fields))

    def judged(rows: NDArray[np.float64]) -> tuple[float, float]:
        source, driving, drawn = rows[:, 0], rows[:, 1], rows[:, 2]
        square = float(((driving - source) ** 2).sum())
        slope = float(((driving - source) * (drawn - source)).sum()) / square if square else float("nan")
        return (float(np.abs(drawn - driving).mean()) if len(rows) else float("nan")), slope

    closing_rows = table[table[:, 1] < table[:, 0] - _CLOSING]
    return Row(*judged(table), *judged(closing_rows), psnr=float(table[:, 3].mean()))


def chosen(eyes: Sequence[tuple[int, float]]) -> list[int]:
    """Frames with the eyes least and most open, and the middle one; each once."""
    ordered = sorted(eyes, key=lambda pair: pair[1])
    return sorted({ordered[0][0], ordered[-1][0], eyes[len(eyes) // 2][0]})


def opening(analyzer: FaceAnalyzer, picture: Picture) -> float | None:
    """Of the largest face's eyes; None without a face."""
    faces = analyzer.landmarks(np.ascontiguousarray(picture))
    return eye_opening(faces[0].points_px) if faces else None


def clips(options: argparse.Namespace, size: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of the first readable clip of each person."""
    people: set[str] = set()
    for clip in open_clips(options.data, options.split).clips:
        if len(people) == options.clips:
            return
        if clip.person in people:
            continue
        try:
            frames = decode_clip(clip, size)
        except CLIP_ERRORS as error:
            print(f"{clip.name}: {error}", file=sys.stderr)
            continue
        people.add(clip.person)
        yield frames


def look(
    model: TalkingHead, analyzer: FaceAnalyzer, frames: NDArray[np.uint8], gains: Sequence[float]
) -> Iterator[tuple[float, Seen]]:
    """Every chosen frame with every gain; nothing of a clip whose faces are not found."""
    first = opening(analyzer, frames[0])
    step = max(1, len(frames) // _LOOKED_AT)
    eyes = [(i, seen) for i in range(1, len(frames), step) if (seen := opening(analyzer, frames[i])) is not None]
    if first is None or not eyes:
        return
    indices, openings = chosen(eyes), dict(eyes)
    for gain in gains:
        model.config = replace(model.config, lid_gain=gain)
        for index, picture in zip(indices, ModelRenderer(model)(frames[0], frames[indices]), strict=True):
            drawn = opening(analyzer, picture)
            if drawn is not None:
                yield gain, Seen(first, openings[index], drawn, psnr_db(picture, frames[index]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each gain."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--split", default="train", choices=("train", "val"))
    parser.add_argument("--checkpoint", type=Path, default=Path("weights/base"))
    parser.add_argument("--gains", type=float, nargs="+", default=[1.0, 1.5, 2.0])
    parser.add_argument("--clips", type=int, default=60, help="people, one clip of each")
    options = parser.parse_args(arguments)
    model = load(options.checkpoint)
    seen: dict[float, list[Seen]] = {gain: [] for gain in options.gains}
    with closing(open_analyzer()) as analyzer:
        for frames in clips(options, model.config.image_size):
            for gain, found in look(model, analyzer, frames, options.gains):
                seen[gain].append(found)
    if not any(seen.values()):
        sys.exit("no face was found in any clip")
    print("gain   error  slope  closing: error  slope    PSNR dB  frames")
    for gain, found_all in seen.items():
        row = summary(found_all)
        numbers = f"{row.error:.4f}  {row.slope:5.2f}  {row.closing_error:14.4f}  {row.closing_slope:5.2f}"
        print(f"{gain:4.2f}  {numbers}  {row.psnr:9.2f}  {len(found_all):6d}")


if __name__ == "__main__":
    main()
