"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        metavar="PATH|HUB-ID",
        help="Weights: a checkpoint folder, or owner/name[@revision] on the model hub. "
        "Default: $SYNHEAD_CHECKPOINT, else the bundled weights/base.",
        show_default=False,
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(metavar="paper|base|lite|tiny", help="Untrained weights of this size instead.", show_default=False),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 on GPUs that compute in it, else fp32.")
]
EngineOption = Annotated[
    str,
    typer.Option(metavar="auto|NAME", help="What runs the model, see synhead info; auto: native or prepared."),
]
GraphOption = Annotated[
    Path | None, typer.Option(metavar="FILE.onnx", help="For --engine onnx: what synhead export wrote.")
]
