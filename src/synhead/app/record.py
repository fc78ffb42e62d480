"""``synhead record``: the motion of a clip as a file, to drive portraits with instead of the clip."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from synhead.app.animate import CROP, read_framing, tell_notes
from synhead.app.console import remark, say
from synhead.app.models import EngineChoice, choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, EngineOption, GraphOption, PresetOption

if TYPE_CHECKING:
    from synhead.inference.recording import Recording


def record(
    driving: Annotated[Path, typer.Argument(metavar="DRIVING", help="Video whose motion is recorded.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Motion template to write: .safetensors.")],
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    graph: GraphOption = None,
    crop: Annotated[str, typer.Option(metavar=CROP, help="Square of DRIVING.")] = "auto",
    face: Annotated[str, typer.Option(metavar="largest|leftmost|N", help="Which face of DRIVING.")] = "largest",
    crop_movement: Annotated[
        Literal["auto", "fixed", "follow"], typer.Option(help="Whether the square follows the face.")
    ] = "auto",
    fit: Annotated[
        Literal["crop", "stretch", "pad"],
        typer.Option(help="How frames in which no face is looked for become square."),
    ] = "crop",
    batch: Annotated[int, typer.Option(min=1, help="Frames run together.")] = 8,
    reference: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="INDEX", help="Frame posed most like a portrait; default: found for each portrait by shapes."
        ),
    ] = None,
    shapes: Annotated[
        bool,
        typer.Option(
            help="Keep the face's landmarks of every frame, by which the reference is found. Without: the first frame."
        ),
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON report for programs.")] = False,
) -> None:
    """Record the motion of DRIVING as a motion template."""
    from synhead.app.progress import FrameProgress  # heavy imports wait until a command runs
    from synhead.data.files import check_input, check_output
    from synhead.inference.animator import AnimatorOptions
    from synhead.inference.clock import Clock
    from synhead.inference.recording import record_video
    from synhead.inference.template_file import TEMPLATE_SUFFIXES, write_template

    check_input(driving)
    check_output(output, inputs=(driving,), suffixes=TEMPLATE_SUFFIXES)
    framing = read_framing(crop, face=face, movement=crop_movement)
    options = AnimatorOptions(batch_size=batch, fit=fit)
    animator, loaded = load_animator(
        choose(checkpoint, preset),
        device=device,
        precision="fp32",
        options=options,
        engine=EngineChoice(name=engine, graph=graph),
    )
    if not loaded.trained:
        remark(
            f"note: these weights are UNTRAINED ({loaded.name}): the template fits no trained model. "
            "Name trained weights with --checkpoint or SYNHEAD_CHECKPOINT.",
            style="yellow",
        )
    with FrameProgress(output.name) as progress:
        recording = record_video(
            animator,
            driving,
            checkpoint=loaded.name,
            reference=("auto" if shapes else "first") if reference is None else reference,
            framing=framing,
            clock=Clock(looking=progress.look),
        )
    write_template(output, recording.template, inputs=(driving,))
    tell_notes(recording)
    found = facts(output, recording)
    say(json.dumps(found, indent=2) if as_json else told(found))


def facts(output: Path, recording: Recording) -> dict[str, Any]:
    """What was stored, for programs."""
    template, size = recording.template, output.stat().st_size
    return {
        "path": str(output),
        "frames": len(template),
        "rate": str(template.rate),
        "checkpoint": template.origin.checkpoint,
        "bytes": size,
        "bytes_per_frame": round(size / len(template)),
        "reference": template.reference,
        "face_shapes": 0 if template.faces is None else template.faces.found,
        "skipped": recording.skipped,
        "warnings": list(recording.warnings),
    }


def told(found: dict[str, Any]) -> str:
    """The same for people."""
    shapes = f"{found['face_shapes']} face shapes" if found["face_shapes"] else "no face shapes"
    return (
        f"{found['path']}: {found['frames']} frames at {float(Fraction(found['rate'])):g} fps, recorded with "
        f"{found['checkpoint']}; {found['bytes_per_frame']} bytes a frame, {shapes}"
    )
