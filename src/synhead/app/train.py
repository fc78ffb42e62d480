"""``synhead train``: train a model on a folder of clips, on one device or, under torchrun, on many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def train(
    data: Annotated[str, typer.Option(help="Clips: a folder, tar shards or a URL of shards.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name of the run: its folder is RUNS/NAME.")] = "first",
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    val: Annotated[str | None, typer.Option(help="Held-out clips; default: the val split of --data.")] = None,
    preset: Annotated[str | None, typer.Option(help="Size of the model: paper (default), base, lite or tiny.")] = None,
    ablation: Annotated[str | None, typer.Option(help="One of the paper's ablations of the preset.")] = None,
    recipe: Annotated[
        Literal["published", "synhead"] | None,
        typer.Option(help="Losses, schedule, pairs: published (default) or synhead."),
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Optimiser steps of the whole run.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs of one process in one pass.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Passes that make one step.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights, the pairs and the warps.")] = None,
    precision: Annotated[Literal["fp32", "tf32", "bf16"] | None, typer.Option(help="Of the arithmetic.")] = None,
    compile_mode: Annotated[str | None, typer.Option("--compile", help="off, default or reduce-overhead.")] = None,
    cuda_graphs: Annotated[
        bool | None,
        typer.Option(
            "--cuda-graphs/--no-cuda-graphs", help="Record passes once and replay them; default: on one GPU in bf16."
        ),
    ] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="vgg19, vgg19-torchvision, vgg16, vgg19-random, local or none.")
    ] = None,
    vgg: Annotated[Path | None, typer.Option(help="File of VGG19 or VGG16, or folder of the local network.")] = None,
    landmarks: Annotated[Path | None, typer.Option(help="Landmarks of the clips, for terms that need them.")] = None,
    adversarial_start: Annotated[int | None, typer.Option(help="Last iteration without the discriminator.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any field of config.json, dotted.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded frames, for the next start.")] = None,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard events.")] = True,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on exactly from the run's last checkpoint.")] = False,
    warm_start: Annotated[Path | None, typer.Option(help="Start from a leg of --export-leg (not exact).")] = None,
    init: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Start from these weights, everything else new.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Save and stop after so many minutes.")] = None,
    export_leg: Annotated[Path | None, typer.Option(help="At the end, write a small warm-restart state here.")] = None,
    compile_cache: Annotated[Path | None, typer.Option(help="Keep compiled kernels here for the next start.")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the final weights in half precision.")] = False,
) -> None:
    """Train a model: RUNS/NAME gets config.json, checkpoints, metrics.jsonl, the best and the final weights."""
    from synhead.app import training as session  # heavy imports wait until a command runs
    from synhead.training.setup import Inputs
    from synhead.training.tracking import TrackerName

    named: dict[str, object] = {
        "training.iterations": iterations,
        "training.batch": batch,
        "training.accumulate": accumulate,
        "training.seed": seed,
        "training.optimizer.rate": rate,
        "training.execution.precision": precision,
        "training.execution.compile": compile_mode,
        "training.execution.cuda_graphs": cuda_graphs,
        "losses.perceptual": perceptual,
        "losses.adversarial_start": adversarial_start,
    }
    changes = session.parse_settings(settings or [], named)
    folder = runs / name
    choice = session.Choice(
        preset=preset, ablation=ablation, recipe=recipe, folder=folder, resume=resume, leg=warm_start, init=init
    )
    wanted: tuple[tuple[TrackerName, bool], ...] = (("tensorboard", tensorboard), ("wandb", wandb))
    trackers = tuple(tracker for tracker, on in wanted if on)
    inputs = Inputs(
        folder=folder,
        data=data,
        validation=val,
        cache=cache,
        perceptual=vgg,
        landmarks=landmarks,
        resume=resume,
        warm_start=warm_start,
        init=init,
        trackers=trackers,
    )
    ending = session.Ending(max_minutes=max_minutes, leg=export_leg, half=half)
    with session.compiled_kernels(compile_cache):
        session.run_session(session.configure(choice, changes), inputs, ending, device=device)


if __name__ == "__main__":
    from synhead.app.errors import guarded

    typer.run(guarded(train))
