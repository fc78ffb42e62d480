"""``synhead prepare``: raw videos of any kind to face clips that ``synhead train`` reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synhead.app.console import remark, say

if TYPE_CHECKING:
    from synhead.training.preparation import PrepareReport


def prepare(
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEOS...", help="Videos, or folders searched for them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CLIPS", help="Folder of the clips.")],
    size: Annotated[Literal["256", "512"], typer.Option(help="Side of the clips in pixels.")] = "256",
    min_face_px: Annotated[int, typer.Option(min=1, help="Least height of a face, hairline to chin.")] = 96,
    min_seconds: Annotated[float, typer.Option(help="Shorter tracks are left out.")] = 2.0,
    max_seconds: Annotated[float, typer.Option(help="Longer tracks are cut evenly.")] = 8.0,
    max_rate: Annotated[float, typer.Option(help="Frames a second at most; faster videos lose frames.")] = 25.0,
    detect_every: Annotated[int, typer.Option(min=1, help="Frames from one detection to the next.")] = 5,
    min_overlap: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Of a face with the first of its track (intersection over union).")
    ] = 0.25,
    min_sharpness: Annotated[
        float, typer.Option(min=0.0, help="Variance of the Laplacian; 0 takes blurred clips too.")
    ] = 20.0,
    scene_cut: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Change from frame to frame that counts as a cut.")
    ] = 0.12,
    duplicate_bits: Annotated[
        int, typer.Option(min=-1, max=64, help="Clips whose hashes differ by no more bits are one; -1: keep all.")
    ] = 6,
    person: Annotated[Literal["file", "folder"], typer.Option(help="What tells persons apart.")] = "file",
    validation_share: Annotated[float, typer.Option(min=0.0, help="Share of the persons to hold out.")] = 0.0,
    crf: Annotated[int, typer.Option(min=0, max=51, help="Video quality: 0 lossless, 18 fine, 28 small.")] = 18,
    workers: Annotated[int, typer.Option(min=1, help="Videos worked on at once.")] = 2,
) -> None:
    """Find, track and cut the faces of VIDEOS into square clips; call again to go on or to add videos."""
    from synhead.app.progress import ClipProgress  # heavy imports wait until a command runs
    from synhead.training.preparation import PrepareOptions, prepare_clips

    options = PrepareOptions(
        size=256 if size == "256" else 512,
        min_face_px=min_face_px,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        max_rate=max_rate,
        detect_every=detect_every,
        min_overlap=min_overlap,
        min_sharpness=min_sharpness,
        scene_cut=scene_cut,
        duplicate_bits=duplicate_bits,
        person=person,
        validation_share=validation_share,
        crf=crf,
        workers=workers,
    )
    try:
        with ClipProgress() as progress:
            report = prepare_clips(videos, output, options, progress.update)
    except KeyboardInterrupt:
        remark(f"{output}: what is finished is kept; the same command goes on from there", style="yellow")
        raise
    summarise(report, output)


def summarise(report: PrepareReport, output: Path) -> None:
    """What came of it, and what was left out and why. Raises PrepareError if no clip did."""
    from synhead.training.preparation import PrepareError

    counts = Counter(item.cause for item in report.rejected)
    causes = ", ".join(f"{count} {cause}" for cause, count in counts.most_common())
    reasons = output / "skipped.jsonl"
    if not report.clips:
        raise PrepareError(
            f"no clip came of {report.inputs} video(s) ({causes}): see {reasons}; a smaller --min-face-px, "
            "--min-seconds or --min-sharpness takes more, in a new folder"
        )
    before = f", {report.resumed} of them done before" if report.resumed else ""
    held_out = f" ({report.held_out} held out)" if report.held_out else ""
    say(f"{output}: {report.clips} clips{held_out} from {report.inputs} video(s){before}, in {report.seconds:.0f} s")
    if causes:
        say(f"left out: {causes}; each with its reason in {reasons}")
    remark(f"look through them in {output / 'contact_sheet.html'}, then: synhead train --data {output}")
