"""``synhead info``: what a checkpoint or preset is, and what it costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from synhead.app.console import remarks, results, say
from synhead.app.models import LoadedModel, ModelChoice, choose, load
from synhead.app.options import PresetOption

if TYPE_CHECKING:
    from synhead.inference.cost import Cost


def info(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder or hub id.", show_default=False)
    ] = None,
    preset: PresetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show configuration, parameters of each part, and arithmetic per source and per driving frame."""
    from synhead.inference.cost import count_parameters, measure_cost  # heavy imports wait until a command runs

    choice: ModelChoice = choose(checkpoint, preset)
    with remarks().status("loading and counting"):
        loaded = load(choice)
        parameters = dict(count_parameters(loaded.model))
        cost = measure_cost(loaded.model)
    if as_json:
        say(_as_json(loaded, parameters, cost))
    else:
        _show(loaded, parameters, cost)


def _as_json(loaded: LoadedModel, parameters: dict[str, int], cost: Cost) -> str:
    from synhead.config import to_json
    from synhead.inference.engines import ENGINES, PRECISIONS

    facts = {
        "name": loaded.name,
        "trained": loaded.trained,
        "notes": list(loaded.notes),
        "parameters": parameters,
        "gmac": {"encoder": cost.encoder, "source": cost.source, "driving_frame": cost.driving_frame},
        "engines": dict(ENGINES),
        "precisions": dict(PRECISIONS),
        "config": json.loads(to_json(loaded.model.config)),
    }
    return json.dumps(facts, indent=2)


def _show(loaded: LoadedModel, parameters: dict[str, int], cost: Cost) -> None:
    from rich.table import Table

    from synhead.inference.engines import ENGINES, PRECISIONS

    config = loaded.model.config
    say(f"{loaded.name}: {'trained' if loaded.trained else 'UNTRAINED'}, configuration {config.name!r}")
    for note in loaded.notes:
        say(f"  {note}")
    say(f"image {config.image_size} px, flow {config.flow_size} px, scales {', '.join(map(str, config.scales))} px")
    say(f"keypoints {config.keypoints.count}")
    for name, codebook in (("motion", config.motion), ("appearance", config.appearance)):
        say(
            f"{name} codebook: {codebook.codes} codes of width {codebook.width}, scope {codebook.scope}, "
            f"allocation {codebook.allocation}"
        )
    table = Table("part", title=None)
    table.add_column("parameters", justify="right")
    for part, count in parameters.items():
        table.add_row(part, f"{count:,}")
    table.add_section()
    table.add_row("all", f"{sum(parameters.values()):,}")
    results().print(table)
    say(f"per driving frame, source cached: {cost.driving_frame:.2f} GMAC")
    say(f"per source: {cost.source:.2f} GMAC, of which the image encoder {cost.encoder:.2f}")
    say("speed options; engines are taken by name, or prepared and native by auto:")
    for kind, choices in (("engine", ENGINES), ("precision", PRECISIONS)):
        for option, meaning in choices.items():
            say(f"  {kind} {option}: {meaning}")
