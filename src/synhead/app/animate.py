"""``synhead animate``: a portrait and a driver in, an animated portrait out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synhead.app.console import remark, say
from synhead.app.models import LoadedModel, choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, PrecisionOption, PresetOption
from synhead.config import ConfigError

if TYPE_CHECKING:
    from synhead.faces.framing import Framing
    from synhead.inference.report import AnimationReport

CropOption = "auto|center|LEFT,TOP,RIGHT,BOTTOM"


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
    face: Annotated[str, typer.Option(metavar="all|largest|leftmost|N,N", help="Which faces of PORTRAIT.")] = "largest",
    crop: Annotated[str, typer.Option(metavar=CropOption, help="Square of PORTRAIT that is animated.")] = "auto",
    crop_scale: Annotated[float, typer.Option(help="Enlarge that square.")] = 1.0,
    crop_shift: Annotated[
        str, typer.Option(metavar="RIGHT,DOWN", help="Shift that square, in shares of its side.")
    ] = "0,0",
    upright: Annotated[bool, typer.Option("--upright", help="Turn that square with a tilted head.")] = False,
    preview: Annotated[
        Path | None, typer.Option(help="Draw faces and squares of PORTRAIT here; without DRIVING do no more.")
    ] = None,
    driving_face: Annotated[
        str, typer.Option(metavar="largest|leftmost|N", help="Which face of DRIVING.")
    ] = "largest",
    driving_crop: Annotated[str, typer.Option(metavar=CropOption, help="Square of DRIVING.")] = "auto",
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
        int | None,
        typer.Option(min=0, metavar="INDEX", help="Driving frame posed like the portrait (relative motion)."),
    ] = None,
    multiplier: Annotated[float, typer.Option(help="How large movements become; 1 as the driver's.")] = 1.0,
    smooth: Annotated[float, typer.Option(min=0.0, help="Smooth the motion over so many frames; 0 not at all.")] = 0.0,
    parts: Annotated[Literal["all", "pose", "expression"], typer.Option(help="Part of the motion to follow.")] = "all",
    paste_back: Annotated[
        bool | None,
        typer.Option("--paste-back/--crop-only", help="Put the square back into PORTRAIT; default: where one is chosen."),
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
    from synhead.app.preview import write_preview  # heavy imports wait until a command runs
    from synhead.app.progress import FrameProgress
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.job import AnimationJob, OutputOptions
    from synhead.inference.motion_edits import MotionEdits
    from synhead.inference.pipeline import animate_video
    from synhead.inference.smoothing import Smoothing
    from synhead.provenance.statement import Statement

    framing = read_framing(
        crop, crop_shift, face=face, scale=crop_scale, upright=upright, movement=crop_movement
    )
