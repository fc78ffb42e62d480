"""``python -m synhead.app.ablation.measure RUN``: reconstruction figures of one trained run, into ``figures.json``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def measure(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, with its final weights.")],
    data: Annotated[str, typer.Option(help="Held-out clips.")],
    landmarks: Annotated[Path | None, typer.Option(help="Folder for landmarks of the driving frames.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Reconstruct the held-out clips with RUN/weights, and write what comes of it."""
    from synhead.app.ablation.plan import FIGURES_FILE
    from synhead.app.console import say
    from synhead.data.clips import open_clips
    from synhead.data.files import replacing
    from synhead.data.records import DataError
    from synhead.evaluation.reconstruction import reconstruct
    from synhead.evaluation.renderers import ModelRenderer
    from synhead.evaluation.trials import read_trials
    from synhead.inference.animator import select_device
    from synhead.weights import checkpoint

    model = checkpoint.load(folder / "weights", device=select_device(device))
    trials, skipped = read_trials(open_clips(data, "val").clips, size=model.config.image_size)
    if not trials:
        raise DataError(f"{data}: no clip can be read ({skipped[0].reason}); make clips with `synhead prepare`")
    report = reconstruct(folder.name, ModelRenderer(model), trials, cache=landmarks)
    found = {name: None if math.isnan(value) else value for name, value in asdict(report.figures).items()}
    with replacing(folder / FIGURES_FILE) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n")
    say(f"{folder / FIGURES_FILE}: {report.frames} frames of {len(trials)} clips")


if __name__ == "__main__":
    from synhead.app.errors import guarded

    typer.run(guarded(measure))
