"""``synhead animate``: a portrait and a driving video in, an animated portrait out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synhead.app.console import remark, say
from synhead.app.models import LoadedModel, choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, PrecisionOption, PresetOption


def animate(
    portrait: Annotated[Path, typer.Argument(metavar="PORTRAIT", help="Photo of the person to animate.")],
    driving: Annotated[Path, typer.Argument(metavar="DRIVING", help="Video whose motion the portrait follows.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Video to write: .mp4, .mov or .mkv.")],
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    motion: Annotated[
        Literal["relative", "absolute"],
        typer.Option(help="relative: move as the driver moves; absolute: take the driver's pose and face shape."),
    ] = "relative",
    adapt_scale: Annotated[bool, typer.Option(help="Scale movements by the sizes of the two faces.")] = True,
    reference: Annotated[
        int, typer.Option(min=0, metavar="INDEX", help="Driving frame posed like the portrait (relative motion).")
    ] = 0,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show portrait, driver and result.")] = False,
    audio: Annotated[bool, typer.Option(help="Keep the driver's sound.")] = True,
    fit: Annotated[
        Literal["crop", "stretch", "pad"], typer.Option(help="How inputs that are not square become square.")
    ] = "crop",
    crf: Annotated[int, typer.Option(min=0, max=51, help="Video quality: 0 lossless, 18 fine, 28 small.")] = 18,
    batch: Annotated[int, typer.Option(min=1, help="Driving frames run together.")] = 8,
) -> None:
    """Animate PORTRAIT with the motion of DRIVING."""
    check_paths(portrait, driving, output)
    from synhead.app.progress import FrameProgress  # heavy imports wait until a command runs
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.pipeline import AnimationReport, VideoOptions, animate_video

    choice = choose(checkpoint, preset)
    options = AnimatorOptions(motion=motion, adapt_scale=adapt_scale, batch_size=batch, fit=fit)
    animator, loaded = load_animator(choice, device=device, precision=precision, options=options)
    warn_if_untrained(loaded)
    video = VideoOptions(reference_frame=reference, side_by_side=side_by_side, audio=audio, crf=crf)
    with FrameProgress(output.name) as progress:
        report: AnimationReport = animate_video(animator, portrait, driving, output, video, progress.update)
    if report.skipped:
        remark(f"note: {report.skipped} damaged driving frames were skipped", style="yellow")
    say(f"{output}: {report.frames} frames at {float(report.rate):g} fps, sound: {report.audio}")
    seconds = report.seconds
    remark(
        f"{loaded.name} on {animator.device} in {animator.precision}: decoding {seconds.decode:.1f} s, "
        f"model {seconds.model:.1f} s ({report.frames / max(seconds.model, 1e-9):.1f} fps), "
        f"encoding {seconds.encode:.1f} s"
    )


def check_paths(portrait: Path, driving: Path, output: Path) -> None:
    """Wrong paths are told at once, before a model is loaded. Raises MediaError."""
    from synhead.data.files import check_input, check_output
    from synhead.data.video import VIDEO_SUFFIXES

    check_input(portrait)
    check_input(driving)
    check_output(output, inputs=(portrait, driving), suffixes=VIDEO_SUFFIXES)


def warn_if_untrained(loaded: LoadedModel) -> None:
    """Say plainly that the result will not be a face."""
    if not loaded.trained:
        remark(
            f"note: these weights are UNTRAINED ({loaded.name}): everything runs, but the picture will not be a face. "
            "Name trained weights with --checkpoint or SYNHEAD_CHECKPOINT.",
            style="yellow",
        )
