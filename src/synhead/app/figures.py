"""``synhead figures``: what happens inside a model for one portrait and driver, and several models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synhead.app.animate import warn_if_untrained
from synhead.app.console import remark, remarks, say
from synhead.app.models import LoadedModel, choose, load
from synhead.app.options import DeviceOption

if TYPE_CHECKING:
    from synhead.evaluation.figures.inputs import Frames
    from synhead.evaluation.figures.sheet import Sheet
    from synhead.evaluation.trials import Trial

OTHERS_HELP = "NAME=PATH of a system to compare with: a checkpoint folder, or a folder of videos it made. Repeatable."


def figures(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder or hub id.")],
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Photo of the person to animate.")],
    driving: Annotated[Path, typer.Argument(metavar="DRIVING", help="Driving video, or one driving picture.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures and index.html.")],
    frame: Annotated[
        int | None, typer.Option(min=0, help="Driving frame to look inside; default: the one that moves most.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Clips for code usage and rows of examples: a folder or tar shards.")
    ] = None,
    others: Annotated[list[str] | None, typer.Option("--with", metavar="NAME=PATH", help=OTHERS_HELP)] = None,
    label: Annotated[str | None, typer.Option(help="Name of CHECKPOINT in comparisons.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Examples from --data in each comparison.")] = 6,
    device: DeviceOption = "auto",
) -> None:
    """Draw motion and appearance compensation, codebooks, occlusion and comparisons as PNG and one HTML page."""
    from synhead.data.files import check_input
    from synhead.evaluation.figures.inputs import named_paths, read_pair  # heavy imports wait until a command runs
    from synhead.evaluation.figures.inside import draw_inside
    from synhead.evaluation.figures.page import write_page
    from synhead.evaluation.figures.qualitative import qualitative_sheet, telling
    from synhead.evaluation.figures.sheet import write_sheet
    from synhead.evaluation.figures.trace import trace_pair
    from synhead.inference.animator import select_device

    check_input(source)
    check_input(driving)
    own = label or Path(checkpoint).name
    systems = _Systems(own=own, others=named_paths(others or [], taken=own))
    chosen = select_device(device)
    loaded = load(choose(checkpoint, None), device=chosen)
    warn_if_untrained(loaded)
    pair = read_pair(source, driving, loaded.model.config.image_size, frame=frame)
    shown, three = telling(pair), telling(pair, 3)
    output.mkdir(parents=True, exist_ok=True)
    with remarks().status("drawing"):
        sheets = draw_inside(trace_pair(loaded.model, pair.source, shown.driving[0]))
        sheets.append(qualitative_sheet("portrait", [three], _frames(loaded, systems, [three])))
        if data is not None:
            sheets += _from_clips(loaded, systems, data, rows, output)
    for sheet in sheets:
        say(str(write_sheet(sheet, output)))
    words = [
        f"{own}: {'trained' if loaded.trained else 'UNTRAINED'}, configuration {loaded.model.config.name}.",
        f"Source {source.name}, frame {shown.indices[0]} of {driving.name}.",
    ]
    write_page(output / "index.html", "Inside the model", words, sheets)
    say(str(output / "index.html"))


@dataclass(frozen=True, slots=True)
class _Systems:
    """What comparisons show: the checkpoint under its name, then others by name."""

    own: str
    others: Mapping[str, Path]


def _frames(loaded: LoadedModel, systems: _Systems, trials: Sequence[Trial]) -> dict[str, dict[str, Frames]]:
    from synhead.evaluation.figures.inputs import render, system_frames

    device = next(loaded.model.parameters()).device
    frames = {systems.own: render(loaded.model, trials)}
    return frames | {name: system_frames(path, trials, device=device) for name, path in systems.others.items()}


def _from_clips(loaded: LoadedModel, systems: _Systems, data: str, rows: int, output: Path) -> list[Sheet]:
    """Rows of examples of both kinds, and the use of the codes (also as codes.json and in words)."""
    from synhead.evaluation.codebook_health import describe, measure_codes
    from synhead.evaluation.figures.code_use import code_use_sheet
    from synhead.evaluation.figures.examples import held_out_trials, spread
    from synhead.evaluation.figures.qualitative import qualitative_sheet, telling
    from synhead.evaluation.retrieval import describe_retrieval, measure_retrieval
    from synhead.evaluation.trials import cross_identity_trials

    trials = held_out_trials(data, loaded.model.config.image_size)
    same = [telling(trial) for trial in spread(trials, rows)]
    cross = [telling(trial) for trial in cross_identity_trials(trials, rows)]
    sheets = [qualitative_sheet("reconstruction", same, _frames(loaded, systems, same))]
    if cross:
        sheets.append(qualitative_sheet("reenactment", cross, _frames(loaded, systems, cross)))
    report = measure_codes(loaded.model, trials)
    if report.codebooks:
        for line in (*describe(report), *describe_retrieval(measure_retrieval(loaded.model, same))):
            remark(line)
        report.write(output / "codes.json")
        sheets.append(code_use_sheet(report))
    return sheets
