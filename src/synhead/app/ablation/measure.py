"""``python -m synhead.app.ablation.measure RUN``: what a run's pictures of held-out clips score: ``figures.json``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def measure(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, with the pictures that it rendered.")],
    data: Annotated[str, typer.Option(help="The held-out clips.")],
    weights: Annotated[str, typer.Option(help="Which of the run's weights made them.")] = "weights",
    landmarks: Annotated[Path | None, typer.Option(help="Folder for landmarks of the driving frames.")] = None,
) -> None:
    """Compare the run's pictures with the clips, and write what comes of it. Neither weights nor a GPU are needed."""
    from synhead.app.ablation.plan import figures_file, frames_folder
    from synhead.app.console import say
    from synhead.data.files import replacing
    from synhead.data.image import read_image
    from synhead.data.records import DataError
    from synhead.evaluation.reconstruction import score
    from synhead.evaluation.systems import FolderSystem
    from synhead.evaluation.trials import held_out

    frames = folder / frames_folder(weights)
    one = next(iter(sorted(frames.rglob("*.png"))), None)
    if one is None:
        raise DataError(
            f"{frames} holds no pictures; render them, or delete the folder and call `synhead ablate` again"
        )
    trials = held_out(data, size=read_image(one).shape[0])
    report = score(FolderSystem(folder.name, frames), trials, cache=landmarks)
    found = {name: None if math.isnan(value) else value for name, value in asdict(report.figures).items()}
    found |= {"frames": report.frames, "faceless": len(report.faceless)}
    with replacing(folder / figures_file(weights)) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    say(f"{folder / figures_file(weights)}: {report.frames} frames of {len(trials)} clips")


if __name__ == "__main__":
    from synhead.app.errors import guarded

    typer.run(guarded(measure))
