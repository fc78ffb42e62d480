"""``synhead animate``: a portrait and a driver in, an animated portrait out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synhead.app.console import remark, say
from synhead.app.models import EngineChoice, LoadedModel, ModelFacts, choose, load_animator
from synhead.app.options import (
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GraphOption,
    PrecisionOption,
    PresetOption,
)
from synhead.app.preview import write_preview
from synhead.config import ConfigError

if TYPE_CHECKING:
    from synhead.faces.framing import Framing
    from synhead.faces.steady import Movement
    from synhead.inference.animator import Animator
    from synhead.inference.motion_edits import MotionEdits
    from synhead.inference.motion_parts import Part
    from synhead.inference.recording import Recording
    from synhead.inference.report import AnimationReport
    from synhead.provenance.statement import Statement

CROP = "auto|center|LEFT,TOP,RIGHT,BOTTOM"


def animate(
    portrait: Annotated[Path, typer.Argument(metavar="PORTRAIT", help="Photo, or video, of the person to animate.")],
    driving: Annotated[
        Path | None, typer.Argument(metavar="DRIVING", help="Video or motion template that the portrait follows.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="What to write: .mp4, .mov, .mkv, .webm, .gif, or a folder of PNGs."),
    ] = None,
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    graph: GraphOption = None,
    face: Annotated[str, typer.Option(metavar="all|largest|leftmost|N,N", help="Which faces of PORTRAIT.")] = "largest",
    crop: Annotated[str, typer.Option(metavar=CROP, help="Square of PORTRAIT that is animated.")] = "auto",
    crop_scale: Annotated[float, typer.Option(help="Enlarge that square.")] = 1.0,
    crop_shift: Annotated[
        str, typer.Option(metavar="RIGHT,DOWN", help="Shift that square, in shares of its side.")
    ] = "0,0",
    upright: Annotated[bool, typer.Option("--upright", help="Turn that square with a tilted head.")] = False,
    preview: Annotated[
        Path | None, typer.Option(help="Draw faces and squares of PORTRAIT here; without DRIVING do no more.")
    ] = None,
    driving_face: Annotated[str, typer.Option(metavar="largest|leftmost|N", help="Which face of DRIVING.")] = "largest",
    driving_crop: Annotated[str, typer.Option(metavar=CROP, help="Square of DRIVING.")] = "auto",
    crop_movement: Annotated[
        Literal["auto", "fixed", "follow"], typer.Option(help="Whether squares of videos follow the face.")
    ] = "auto",
    fetch_face_model: Annotated[
        bool, typer.Option("--fetch-face-model", help="Allow the download of mediapipe's face model (3.8 MB).")
    ] = False,
    motion: Annotated[
        Literal["relative", "absolute"],
        typer.Option(help="relative: move as the driver moves; absolute: take the driver's pose and face shape."),
    ] = "relative",
    adapt_scale: Annotated[bool, typer.Option(help="Scale movements by the sizes of the two faces.")] = True,
    reference: Annotated[
        str, typer.Option(metavar="auto|INDEX", help="Driving frame posed like the portrait (relative motion).")
    ] = "auto",
    multiplier: Annotated[float, typer.Option(help="How large movements become; 1 as the driver's.")] = 1.0,
    smooth: Annotated[float, typer.Option(min=0.0, help="Smooth the motion over so many frames; 0 not at all.")] = 0.0,
    parts: Annotated[Literal["all", "head", "face"], typer.Option(help="Part of the motion to follow.")] = "all",
    mouth: Annotated[float, typer.Option(min=0.0, help="How large movements of the mouth become; 1 as driven.")] = 1.0,
    eyes: Annotated[float, typer.Option(min=0.0, help="The same for the lids.")] = 1.0,
    paste_back: Annotated[
        bool | None,
        typer.Option(
            "--paste-back/--crop-only", help="Put the square back into PORTRAIT; default: if it is a part of it."
        ),
    ] = None,
    max_side: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Longest side when pasted back; default: as PORTRAIT.")
    ] = None,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show portrait, driver and result.")] = False,
    audio: Annotated[Literal["driver", "source", "none"], typer.Option(help="Whose sound is kept.")] = "driver",
    fit: Annotated[
        Literal["crop", "stretch", "pad"],
        typer.Option(help="How pictures in which no face is looked for become square."),
    ] = "crop",
    codec: Annotated[
        Literal["auto", "h264", "h265", "av1", "vp9"], typer.Option(help="auto: h264, or vp9 in .webm.")
    ] = "auto",
    crf: Annotated[
        int | None, typer.Option(min=0, max=63, help="Video quality: 0 best, more is smaller; default by codec.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Words in a corner, such as 'AI-generated'.")
    ] = None,
    sign_cert: Annotated[Path | None, typer.Option(help="Your certificate chain (PEM) for the marking.")] = None,
    sign_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Driving frames run together.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print a report for programs.")] = False,
) -> None:
    """Animate PORTRAIT with the motion of DRIVING."""
    framing = read_framing(crop, face=face, scale=crop_scale, shift=crop_shift, movement=crop_movement)
    framing = replace(framing, upright=upright)
    if fetch_face_model:
        remark(f"face model: {fetch_model()}")
    if preview is not None:
        tell_preview = remark if as_json else say  # standard output is the report's alone
        tell_preview(f"{preview}: {write_preview(portrait, framing, preview)}")
        if driving is None and output is None:
            return
    if driving is None or output is None:
        raise ConfigError("give DRIVING and --output; without them only --preview FILE can be made")
    from synhead.app.progress import FrameProgress  # heavy imports wait until a command runs
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.clock import Clock
    from synhead.inference.job import AnimationJob, OutputOptions
    from synhead.inference.pipeline import animate_video, check_job
    from synhead.inference.retargeting import Strengths

    options = AnimatorOptions(
        motion=motion,
        adapt_scale=adapt_scale,
        edits=read_edits(multiplier, smooth, parts),
        batch_size=batch,
        fit=fit,
    )
    job = AnimationJob(
        source=portrait,
        driving=driving,
        output=output,
        framing=framing,
        driving_framing=read_framing(driving_crop, face=driving_face, movement=crop_movement),
        reference=read_reference(reference),
        openings=Strengths(mouth=mouth, eyes=eyes),
        options=OutputOptions(
            paste_back="auto" if paste_back is None else "always" if paste_back else "never",
            max_side=max_side,
            side_by_side=side_by_side,
            audio=audio,
            codec=codec,
            crf=crf,
            label=label,
            certificate=sign_cert,
            key=sign_key,
        ),
    )
    check_job(job)
    chosen = EngineChoice(name=engine, graph=graph)
    animator, loaded = load_animator(
        choose(checkpoint, preset), device=device, precision=precision, options=options, engine=chosen
    )
    warn_if_untrained(loaded)
    with FrameProgress(output.name) as progress:
        clock = Clock(looking=progress.look)
        report = animate_video(animator, job, progress.update, statement=statement_of(loaded), clock=clock)
    tell(report, output, animator, loaded, as_json=as_json)


def read_framing(
    crop: str, *, face: str = "largest", scale: float = 1.0, shift: str = "0,0", movement: Movement = "auto"
) -> Framing:
    """From the options that say which square. Raises ConfigError, FaceError for a face that is not understood."""
    from synhead.faces.framing import Framing

    right, down = numbers(shift, 2, "--crop-shift takes RIGHT,DOWN in shares of the side, such as 0.1,-0.2")
    word = crop.strip().lower()
    box: tuple[float, ...] | None = None
    if word not in ("auto", "center"):
        box = numbers(crop, 4, f"--crop and --driving-crop take {CROP}, the numbers in pixels")
    mode: Literal["auto", "center", "box"] = "box" if box else "center" if word == "center" else "auto"
    return Framing(crop=mode, box=box, face=face, scale=scale, right=right, down=down, movement=movement)


def numbers(text: str, count: int, usage: str) -> tuple[float, ...]:
    """``count`` numbers with commas between them. Raises ConfigError with ``usage``."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != count or not all(math.isfinite(number) for number in found):
        raise ConfigError(f"{text!r} is not understood: {usage}")
    return found


def read_reference(text: str) -> int | None:
    """An index, or None for ``auto``. Raises ConfigError."""
    if text.strip().lower() == "auto":
        return None
    if not text.strip().isdecimal():
        raise ConfigError(f"--reference {text!r} is not understood; choose auto or a frame's index, counted from 0")
    return int(text)


def read_edits(multiplier: float, smooth: float, parts: Part) -> MotionEdits:
    """From the options about motion. Raises ConfigError."""
    from synhead.inference.motion_edits import MotionEdits
    from synhead.inference.smoothing import Smoothing

    return MotionEdits(multiplier=multiplier, parts=parts, smoothing=Smoothing(frames=smooth) if smooth else None)


def fetch_model() -> Path:
    """The face model, downloaded if it is not there. Raises FaceError."""
    from synhead.faces.task_file import fetch_task_file

    return fetch_task_file()


def statement_of(loaded: ModelFacts) -> Statement:
    """What the marking says of the model: of a folder on this machine only its own name, and the weights' hash."""
    from synhead.provenance.statement import Statement
    from synhead.weights.checkpoint import WEIGHTS_FILE
    from synhead.weights.hub import file_sha256, resolve

    if not loaded.trained:
        return Statement(model=loaded.name)
    folder = resolve(loaded.name)
    name = Path(loaded.name).name if Path(loaded.name).exists() else loaded.name
    return Statement(model=name, model_sha256=file_sha256(folder / WEIGHTS_FILE))


def warn_if_untrained(loaded: ModelFacts) -> None:
    """Say plainly that the result will not be a face."""
    if not loaded.trained:
        remark(
            f"note: these weights are UNTRAINED ({loaded.name}): everything runs, but the picture will not be a face. "
            "Name trained weights with --checkpoint or SYNHEAD_CHECKPOINT.",
            style="yellow",
        )


def tell_notes(report: AnimationReport | Recording) -> None:
    """What the person should know of a video that was made, or recorded."""
    for warning in report.warnings:
        remark(f"note: {warning}", style="yellow")
    if report.skipped:
        remark(f"note: {report.skipped} damaged frames were skipped", style="yellow")


def tell(report: AnimationReport, output: Path, animator: Animator, loaded: LoadedModel, *, as_json: bool) -> None:
    """What was done: one line, or JSON, as the result; remarks for the person."""
    tell_notes(report)
    if as_json:
        say(report.to_json())
        return
    width, height = report.size
    shown = f"{width} x {height} ({'the whole picture' if report.pasted else 'crop only'})"
    say(f"{output}: {report.frames} frames at {float(report.rate):g} fps, {shown}, sound: {report.audio}")
    remark(f"reference: {report.reference_reason}")
    seconds = report.seconds
    speed = report.frames / max(seconds.model, 1e-9)
    remark(
        f"{loaded.name} on {animator.device}, {report.engine} in {report.precision}: decoding {seconds.decode:.1f} s, "
        f"faces {seconds.faces:.1f} s, model {seconds.model:.1f} s ({speed:.1f} fps), "
        f"pasting {seconds.paste:.1f} s, encoding {seconds.encode:.1f} s"
    )
