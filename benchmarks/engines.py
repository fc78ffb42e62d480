"""Do the engines draw the same pictures? Real frames, every engine against the eager one in fp32; a table and JSON.

    python examples/demo.py  # writes outputs/portrait.png and outputs/driver.mp4
    python benchmarks/engines.py --source outputs/portrait.png --driving outputs/driver.mp4 --preset lite tiny
    python benchmarks/engines.py --source me.png --driving you.mp4 --checkpoint weights/base --engine prepared native \
        --precision fp32 bf16 --batch 1 7 32 --times 1 2 --json report.json

The yardstick is the eager engine in fp32, one frame a call; its frames are spread evenly over the clip. Every engine
goes the whole way itself: it observes the photo, finds keypoints, moves the source's by them and draws, ``batch``
frames a call. Bounds (docs/speed.md): in fp32 at most one level of 255, for onnx also 1e-3 in [-1, 1]; in bf16 one
level on average. Untrained weights amplify rounding: there bf16 may be off 1.25 times as far as plain autocast.
``moved`` is what the batch changed: the first frames in a batch against the same engine's, drawn alone. It has the
same bounds.

The model masks tokens whose flow leaves the photo: where a flow is within 3e-6 of the edge, rounding decides, and the
picture jumps (by 1e-2 with untrained weights). Such frames, whose number is printed, are compared with what the
yardstick draws on either side of the edge, and count for the nearest of the two; in ``moved`` they do not count.

``--times 2`` doubles the size of the preset's pictures. Weights of a checkpoint are stretched to it: they draw, but
nobody trained them to. Exit status 1 if a bound is exceeded or a case failed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from einops import repeat

from synhead.app.models import untrained
from synhead.config import PRESETS
from synhead.data.image import RgbImage, fit_image, read_image
from synhead.geometry.warp import resize_grid
from synhead.inference.engine import EagerEngine, Engine, true_fp32
from synhead.inference.engines import ENGINES, EngineOptions, make_engine
from synhead.inference.export import TOLERANCE, example_inputs, write_graph
from synhead.inference.frame_graph import to_pixels
from synhead.inference.motion_transfer import transfer_motion
from synhead.inference.onnx_engine import OnnxEngine
from synhead.model.appearance_compensation import AppearanceCompensation
from synhead.model.talking_head import TalkingHead
from synhead.types import Animation, Keypoints, SourceFeatures
from synhead.weights.checkpoint import load, read_info

ALONE = 7
"""Frames that every engine also draws one a call."""
LEVELS = 1.0
AMPLIFIED = 1.25
"""Bounds: levels of 255, at most in fp32 and on average in bf16; with untrained weights, shares of autocast's."""
EDGE = 3e-6
"""How near to the photo's edge, in its coordinates, rounding may move a flow to the other side."""

HEADING = (
    "weights          px engine    prec batch   max     mean  in +-1  moved max     mean bound     verdict  s/frame"
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Weights, and whether they are trained."""

    name: str
    model: TalkingHead
    trained: bool

    @property
    def size(self) -> int:
        """Side of its pictures in pixels."""
        return self.model.config.image_size


@dataclass(frozen=True, kw_only=True)
class Row:
    """One engine at one batch. Levels of 255 from the yardstick, ``image`` in [-1, 1]; ``moved``: see the module.

    ``allowed``: levels, at most in fp32, on average in bf16.
    """

    weights: str
    size: int
    engine: str
    precision: str
    batch: int
    largest: int
    mean: float
    image: float | None
    moved_largest: int
    moved_mean: float
    allowed: float
    frame_s: float

    @property
    def agrees(self) -> bool:
        """Whether all bounds are kept."""
        if self.precision == "bf16":
            return max(self.mean, self.moved_mean) <= self.allowed
        return max(self.largest, self.moved_largest) <= self.allowed and (self.image or 0.0) <= TOLERANCE


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a photo")
    parser.add_argument("--driving", type=Path, required=True, help="a video")
    parser.add_argument("--preset", nargs="*", default=[], choices=tuple(PRESETS), help="untrained weights")
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="checkpoint folders")
    parser.add_argument(
        "--engine", nargs="+", default=["eager", "prepared", "native", "onnx"], choices=tuple(ENGINES),
        help="compiled takes minutes on a CPU, so it is run only if named",
    )  # fmt: skip
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 7, 32])
    parser.add_argument("--times", type=int, nargs="+", default=[1], help="sizes, in sizes of the preset's pictures")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of PyTorch on the CPU; default: its own choice")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


class Yardstick:
    """What the eager engine draws in fp32, a frame a call."""

    def __init__(self, model: TalkingHead, portrait: RgbImage, frames: Sequence[RgbImage]) -> None:
        self.model, self.portrait, self.frames = model, portrait, frames
        engine = EagerEngine(model)
        source, origin = engine.observe(portrait), engine.keypoints(frames[:1])
        drawn, self.others = [], {}
        with torch.inference_mode(), true_fp32():
            for index, frame in enumerate(frames):
                moved = driving(engine, source, origin, [frame])
                animation = model.animate(source, moved)
                drawn.append(animation.image)
                if on_edge(model, animation):
                    self.others[index] = [beside_edge(model, source, moved, side) for side in (-EDGE, EDGE)]
        images = torch.cat(drawn)
        self.images, self.pixels = images.cpu().numpy(), to_pixels(images).cpu().numpy()

    def nearest(self, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
        """Images and pixels to compare ``drawn`` with: of frames on the edge, those of the side that is nearest."""
        count = min(len(drawn.pixels), len(self.pixels))
        images, pixels = self.images[:count].copy(), self.pixels[:count].copy()
        for index, others in self.others.items():
            if index < count:
                choices = [(images[index], pixels[index]), *others]
                images[index], pixels[index] = min(
                    choices, key=lambda one: int(levels(drawn.pixels[index], one[1]).max())
                )
        return images, pixels

    @property
    def spread(self) -> float:
        """Levels by which the frames differ from each other: none would agree with anything."""
        return float(self.pixels.astype(float).std(axis=0).mean())

    @cached_property
    def autocast(self) -> float:
        """Levels on average that the eager engine is off in bf16."""
        engine = EagerEngine(self.model, precision="bf16")
        return float(levels(Case(engine, self).alone().pixels, self.pixels).mean())


def on_edge(model: TalkingHead, animation: Animation) -> bool:
    """Whether the flow of any token, at any scale, is so near to the edge of the photo that rounding decides."""
    compensation = model.appearance_compensation
    if not isinstance(compensation, AppearanceCompensation):
        return False
    grids = [trace.motion.grid for trace in animation.traces if trace.scale in compensation.scales]
    return any(bool(((resize_grid(grid, compensation.side).abs() - 1).abs() < EDGE).any()) for grid in grids)


def beside_edge(
    model: TalkingHead, source: SourceFeatures, moved: Keypoints, by: float
) -> tuple[np.ndarray, np.ndarray]:
    """One frame's image and pixels with the edge moved."""
    compensation = model.appearance_compensation
    assert isinstance(compensation, AppearanceCompensation)
    try:
        compensation.edge = 1.0 + by
        image = model.animate(source, moved).image
    finally:
        compensation.edge = 1.0
    return image[0].cpu().numpy(), to_pixels(image)[0].cpu().numpy()


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Pictures, drawn ``batch`` a call; of onnx also in [-1, 1]."""

    batch: int
    pixels: np.ndarray
    images: np.ndarray | None
    frame_s: float


class Case:
    """An engine with the yardstick's photo and frames."""

    def __init__(self, engine: Engine, yardstick: Yardstick) -> None:
        self.engine, self.frames = engine, yardstick.frames
        self.source = engine.observe(yardstick.portrait)
        self.origin = engine.keypoints(self.frames[:1])

    def draw(self, count: int, start: int = 0) -> Drawn:
        """``count`` frames in one call."""
        begun = time.perf_counter()
        moved = driving(self.engine, self.source, self.origin, self.frames[start : start + count])
        if isinstance(self.engine, OnnxEngine):
            images = self.engine.images(self.source, moved)
            pixels = to_pixels(torch.from_numpy(images)).numpy()
        else:
            images, pixels = None, self.engine.render(self.source, moved)
        return Drawn(batch=count, pixels=pixels, images=images, frame_s=(time.perf_counter() - begun) / count)

    def alone(self) -> Drawn:
        """The first frames, one a call."""
        drawn = [self.draw(1, index) for index in range(ALONE)]
        return Drawn(
            batch=1,
            pixels=np.concatenate([one.pixels for one in drawn]),
            images=None if drawn[0].images is None else np.concatenate([one.images for one in drawn]),
            frame_s=sum(one.frame_s for one in drawn) / ALONE,
        )


def driving(engine: Engine, source: SourceFeatures, origin: Keypoints, frames: Sequence[RgbImage]) -> Keypoints:
    """Keypoints of the frames, moved to the source."""
    return transfer_motion(source.keypoints, engine.keypoints(frames), origin)


def levels(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Absolute differences of 8-bit pictures, of as many frames as both have."""
    count = min(len(found), len(wanted))
    return np.abs(found[:count].astype(int) - wanted[:count])


def compare(subject: Subject, yardstick: Yardstick, options: argparse.Namespace) -> Iterator[Row | str]:
    """A row for every engine, precision and batch; of those that failed, why."""
    for name, precision in itertools.product(options.engine, options.precision):
        if (name, precision) == ("onnx", "bf16"):
            continue
        case, alone = None, None
        for batch in sorted(options.batch):
            try:
                if case is None or name == "onnx":  # whose graph has a fixed batch
                    case = Case(build(subject.model, name, precision, batch), yardstick)
                alone = alone or case.alone()
                drawn = alone if batch == 1 else case.draw(batch)
                yield differences(subject, case, drawn, alone, yardstick)
            except Exception as error:  # no memory, no compiler: the others are compared all the same
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                yield f"{subject.name} {subject.size} px {name} {precision} batch {batch} FAILED: {reason}"


def differences(subject: Subject, case: Case, drawn: Drawn, alone: Drawn, yardstick: Yardstick) -> Row:
    """What an engine drew, from the yardstick and from what it drew alone."""
    wanted, pixels = yardstick.nearest(drawn)
    off, moved = levels(drawn.pixels, pixels), levels(drawn.pixels, alone.pixels)
    moved[[index for index in yardstick.others if index < len(moved)]] = 0
    images = drawn.images
    exact = case.engine.precision == "fp32" or subject.trained
    return Row(
        weights=subject.name,
        size=subject.size,
        engine=case.engine.name,
        precision=case.engine.precision,
        batch=drawn.batch,
        largest=int(off.max()),
        mean=float(off.mean()),
        image=None if images is None else float(np.abs(images - wanted).max()),
        moved_largest=int(moved.max()),
        moved_mean=float(moved.mean()),
        allowed=LEVELS if exact else AMPLIFIED * yardstick.autocast,
        frame_s=drawn.frame_s,
    )


def build(model: TalkingHead, name: str, precision: str, batch: int) -> Engine:
    """The named engine; a graph for onnx is written on the spot, and not verified: that happens here."""
    if name != "onnx":
        return make_engine(model, EngineOptions(name=name, precision=precision))  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.onnx"
        write_graph(model, path, example_inputs(model, batch))
        return make_engine(model, EngineOptions(name="onnx", graph=path))


def subjects(options: argparse.Namespace) -> Iterator[Subject]:
    """All weights at all sizes, one after another."""
    for name, times in itertools.product(options.preset, options.times):
        size = times * PRESETS[name].image_size
        yield Subject(name=name, model=untrained(name, device=options.device, size=size), trained=False)
    for path, times in itertools.product(options.checkpoint, options.times):
        model = stretch(load(path, device=options.device), times)
        yield Subject(name=str(path), model=model, trained=read_info(path).trained)


def stretch(model: TalkingHead, times: int) -> TalkingHead:
    """The same weights for pictures of ``times`` the size: every scale's, and patches of ``times`` the side.

    A token reads each of its old pixels as the mean of the pixels that took its place, and writes all of these alike.
    """
    if times == 1:
        return model
    config = replace(model.config, image_size=times * model.config.image_size)
    larger = TalkingHead(config).to(next(model.parameters()).device).eval()
    wanted, side = larger.state_dict(), config.token_size
    scales = dict(zip(map(str, model.config.scales), config.scales, strict=True))
    for name, value in model.state_dict().items():
        target = ".".join(str(scales.get(part, part)) for part in name.split("."))
        if ".projections." in name:
            scale = next(part for part in name.split(".") if part in scales)
            patch = int(scale) // side
            if "embed.weight" in name:
                tall = repeat(value, "e (p q c) -> e (p u q v c)", p=patch, q=patch, u=times, v=times)
                wanted[target] = tall / times**2
            elif "restore" in name:
                wanted[target] = repeat(value, "(p q c) ... -> (p u q v c) ...", p=patch, q=patch, u=times, v=times)
            else:
                wanted[target] = value
        elif value.shape == wanted[target].shape:
            wanted[target] = value
        elif model.config.keypoints.detail == "patches" and name == "keypoint_detector.downscale.weight":
            wanted[target] = repeat(value, "e c p q -> e c (p u) (q v)", u=times, v=times) / times**2
        # else a blur, which is a constant of the size
    larger.load_state_dict(wanted)
    return larger


def read_pictures(options: argparse.Namespace, size: int) -> tuple[RgbImage, list[RgbImage]]:
    """The photo, and frames spread evenly over the clip, as squares."""
    from synhead.data.video import read_frames  # noqa: PLC0415 - needs PyAV

    clip = [frame.image for frame in read_frames(options.driving, size=size)]
    indices = np.linspace(0, len(clip) - 1, max(*options.batch, ALONE)).round().astype(int)
    return fit_image(read_image(options.source), size), [clip[index] for index in indices]


def show(row: Row) -> str:
    """One line of the table."""
    image = "-" if row.image is None else f"{row.image:.1e}"
    bound = f"{'mean' if row.precision == 'bf16' else 'max'} {row.allowed:.2f}"
    return (
        f"{row.weights:14} {row.size:4d} {row.engine:9} {row.precision:4} {row.batch:5d} {row.largest:5d} "
        f"{row.mean:8.4f} {image:>8} {row.moved_largest:9d} {row.moved_mean:8.4f} {bound:9} "
        f"{'agrees' if row.agrees else 'DIFFERS':8}{row.frame_s:8.2f}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, compare, print, write."""
    options = parse_arguments(argv)
    if not options.preset and not options.checkpoint:
        sys.exit("name weights: --preset, --checkpoint or both")
    if options.threads:
        torch.set_num_threads(options.threads)
    print(HEADING)
    rows: list[Row] = []
    failed: list[str] = []
    for subject in subjects(options):
        yardstick = Yardstick(subject.model, *read_pictures(options, subject.size))
        print(
            f"{subject.name} at {subject.size} px: frames spread by {yardstick.spread:.1f} levels; "
            f"on the edge: {sorted(yardstick.others) or 'none'}",
            flush=True,
        )
        for found in compare(subject, yardstick, options):
            if isinstance(found, Row):
                rows.append(found)
            else:
                failed.append(found)
            print(show(found) if isinstance(found, Row) else found, flush=True)
            if options.json:
                written = [asdict(row) | {"agrees": row.agrees} for row in rows]
                report = {"torch": torch.__version__, "rows": written, "failed": failed}
                options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if not failed and all(row.agrees for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
