"""``synhead evaluate``: the paper's protocols on held-out clips, for a checkpoint and for any rivals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synhead.app.models import choose
from synhead.app.options import DeviceOption, PresetOption

DownloadOption = Annotated[
    bool, typer.Option("--download-weights", help="Fetch missing weights of metrics, checked by SHA-256.")
]
WeightsOption = Annotated[
    Path | None, typer.Option(help="Folder of the metrics' weights. Default: $SYNHEAD_WEIGHTS.", show_default=False)
]
MetricsOption = Annotated[
    str | None, typer.Option(metavar="ID,...", help="Only these metrics, by the ids of the report.", show_default=False)
]
PublishedOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TABLE", help="Add rows of the paper: table1-voxceleb1, table1-celebvhq, table2."),
]
PicturesOption = Annotated[int, typer.Option(min=0, help="Videos on the page's contact sheet.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Threads that find landmarks.")]


def evaluate(
    data: Annotated[str, typer.Option(help="Clips: a folder or tar shards.", show_default=False)],
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder or hub id.", show_default=False)
    ] = None,
    preset: PresetOption = None,
    protocol: Annotated[
        Literal["reconstruction", "reenactment"],
        typer.Option(help="Same identity with absolute keypoints, or across identities with relative ones."),
    ] = "reconstruction",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of report.json and report.html.")] = Path(
        "outputs/evaluation"
    ),
    split: Annotated[Literal["train", "val"], typer.Option(help="Of a folder; shards are taken whole.")] = "val",
    videos: Annotated[Path | None, typer.Option(help="csv with a column video: only these clips.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="csv with columns source,driving: pairs to reenact.")] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames a clip, evenly spaced; default: all, as published.")
    ] = None,
    own: Annotated[str, typer.Option(help="Rows of ours: of copy, warp and synhead; '' for none.")] = (
        "copy,warp,synhead"
    ),
    rival: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FOLDER", help="Another system's results of the same trials.")
    ] = None,
    rival_command: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COMMAND", help="Run it a trial: {source} {driving} {driving_frames} {output} ..."),
    ] = None,
    published: PublishedOption = None,
    save_frames: Annotated[
        Path | None, typer.Option(help="Keep every rendered frame as PNG: FOLDER/SYSTEM/TRIAL/000000.png.")
    ] = None,
    weights_dir: WeightsOption = None,
    download: DownloadOption = False,
    metrics: MetricsOption = None,
    pictures: PicturesOption = 8,
    device: DeviceOption = "auto",
    precision: Annotated[Literal["fp32", "bf16"], typer.Option(help="Of the model.")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Driving frames run together.")] = 8,
    workers: WorkersOption = 2,
) -> None:
    """Measure CHECKPOINT, copying the source and warping it by the coarse flow, and rivals, on the same frames."""
    from synhead.app import evaluation as session  # heavy imports wait until a command runs

    chosen = choose(checkpoint, preset)
    rivals = session.Rivals(folders=session.named(rival), commands=session.named(rival_command))
    plan = session.plan_protocol(
        session.Wish(data=data, split=split, protocol=protocol, videos=videos, pairs=pairs, frames=frames, own=own),
        chosen,
        session.Machine(device=device, precision=precision, batch=batch),
        rivals,
        out,
    )
    tools = session.Tools(weights=weights_dir, download=download, metrics=metrics, device=device, workers=workers)
    output = session.Output(folder=out, frames=save_frames, pictures=pictures, published=tuple(published or ()))
    session.run(plan, tools, output)
