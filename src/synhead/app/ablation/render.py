"""``python -m synhead.app.ablation.render RUN``: a trained run's pictures of held-out clips, kept without loss."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer


def render(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, with its weights.")],
    data: Annotated[str, typer.Option(help="Held-out clips.")],
    weights: Annotated[str, typer.Option(help="Which of the run's weights.")] = "weights",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Reconstruct the held-out clips with RUN/WEIGHTS; all pictures or none."""
    from synhead.app.ablation.plan import frames_folder
    from synhead.app.console import say
    from synhead.evaluation.folders import save_pictures
    from synhead.evaluation.renderers import ModelRenderer
    from synhead.evaluation.trials import held_out
    from synhead.inference.animator import select_device
    from synhead.weights import checkpoint

    model = checkpoint.load(folder / weights, device=select_device(device))
    trials = held_out(data, size=model.config.image_size)
    made = ModelRenderer(model)
    final = folder / frames_folder(weights)
    partial = final.with_name(f"{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for trial in trials:
        save_pictures(partial / trial.name, made.trial(trial))
    partial.rename(final)
    say(f"{final}: {sum(len(trial.driving) for trial in trials)} pictures of {len(trials)} clips")


if __name__ == "__main__":
    from synhead.app.errors import guarded

    typer.run(guarded(render))
