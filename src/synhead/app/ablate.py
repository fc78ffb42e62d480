"""``synhead ablate``: train the paper's variants with equal data, seeds and budget, measure all, print Table 2."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from synhead.app.console import remark, say


def ablate(
    data: Annotated[str, typer.Option(help="Clips: a folder, tar shards or a URL of shards.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of all runs and of the table.")] = Path(
        "runs/ablation"
    ),
    val: Annotated[str | None, typer.Option(help="Held-out clips; default: the val split of --data.")] = None,
    variants: Annotated[str, typer.Option(help="Names of ablations, separated by commas.")] = (
        "baseline,smc,mmc,mmc_sac,full"
    ),
    seeds: Annotated[str, typer.Option(help="One run a variant and seed.")] = "0",
    preset: Annotated[str, typer.Option(help="Size of the model: paper, base, lite or tiny.")] = "paper",
    recipe: Annotated[Literal["published", "synhead"], typer.Option(help="Losses, schedule, pairs.")] = "published",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps of every run: the fair budget.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of training of every run instead.")] = None,
    at: Annotated[int | None, typer.Option(min=1, help="Measure the weights after so many steps too.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs of one step.")] = None,
    precision: Annotated[Literal["fp32", "tf32", "bf16"] | None, typer.Option(help="Of the arithmetic.")] = None,
    compile_mode: Annotated[str | None, typer.Option("--compile", help="off, default or reduce-overhead.")] = None,
    perceptual: Annotated[
        str | None, typer.Option(help="vgg19, vgg19-torchvision, vgg16, vgg19-random, local or none.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any field of config.json, dotted.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded frames, shared by the runs.")] = None,
    vgg: Annotated[Path | None, typer.Option(help="File of VGG19 or VGG16, or folder of the local network.")] = None,
    devices: Annotated[str, typer.Option(help="auto, cpu, or numbers of GPUs such as 0,1,2.")] = "auto",
) -> None:
    """Train and measure variants, one a GPU at a time; call again to go on where it was stopped.

    Where mediapipe is missing, held-out clips are rendered (RUN/frames) and a call on another machine measures them.
    """
    from synhead.app.ablation.clips import require_clips
    from synhead.app.ablation.fleet import parse_devices, run_all  # heavy imports wait until a command runs
    from synhead.app.ablation.plan import FINAL, Request, claim, measurements, parse_seeds, parse_variants, plan
    from synhead.config import preset as named_preset
    from synhead.evaluation.ablation import summarise

    named_preset(preset)  # what is wrong is told before hours of training
    measuring = find_spec("mediapipe") is not None
    request = Request(
        preset=preset,
        data=data,
        val=val,
        steps=steps,
        minutes=minutes,
        recipe=recipe,
        batch=batch,
        precision=precision,
        compile=compile_mode,
        perceptual=perceptual,
        settings=tuple(settings or ()),
        cache=None if cache is None else str(cache),
        vgg=None if vgg is None else str(vgg),
        at=at,
    )
    tasks = plan(request, output, parse_variants(variants), parse_seeds(seeds), measuring=measuring)
    where = parse_devices(devices)
    require_clips(request, tasks)
    claim(output, request)
    remark(f"{len(tasks)} runs on {', '.join(device.name for device in where)}; {output} can be gone on from")
    failures = run_all(tasks, where, remark)
    for weights in request.weights:
        measured = measurements(request, output, weights)
        if measured:
            table = summarise(measured)
            written = " ".join(str(path) for path in table.write(output, weights.replace(FINAL, "table2", 1)))
            say(f"{'final weights' if weights == FINAL else f'weights after {request.at} steps'}: {written}\n")
            say(table.to_markdown() + "\n")
    if not measuring:
        remark(f"not measured, for mediapipe is missing: call again on {output} where synhead[faces] is installed")
    if failures:
        remark(f"error: {len(failures)} of {len(tasks)} runs failed: see log.txt in their folders", style="red")
        raise typer.Exit(2)
