"""``synhead score``: any system's videos against what they should have been."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synhead.app.evaluate import (
    DownloadOption,
    MetricsOption,
    PicturesOption,
    PublishedOption,
    WeightsOption,
    WorkersOption,
)
from synhead.app.options import DeviceOption


def score(
    generated: Annotated[Path, typer.Option(help="Folder of videos or of folders of PNG frames.", show_default=False)],
    reference: Annotated[Path, typer.Option(help="What they should show, under the same names.", show_default=False)],
    source: Annotated[
        Path | None, typer.Option(help="Source pictures or videos; default: the references' first frames.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of the system, in the report.")] = "generated",
    size: Annotated[int | None, typer.Option(min=16, help="Resize both to squares of this side.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of report.json and report.html.")] = Path(
        "outputs/score"
    ),
    published: PublishedOption = None,
    weights_dir: WeightsOption = None,
    download: DownloadOption = False,
    metrics: MetricsOption = None,
    pictures: PicturesOption = 8,
    device: DeviceOption = "auto",
    workers: WorkersOption = 2,
) -> None:
    """Measure the videos in GENERATED against those of the same names in REFERENCE."""
    from synhead.app import evaluation as session  # heavy imports wait until a command runs

    plan = session.plan_score(name, generated, reference, source, size)
    tools = session.Tools(weights=weights_dir, download=download, metrics=metrics, device=device, workers=workers)
    session.run(
        plan, tools, session.Output(folder=out, frames=None, pictures=pictures, published=tuple(published or ()))
    )
