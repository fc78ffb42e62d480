"""``synhead convert``: the authors' published .pth files to our checkpoint folder, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synhead.app.console import remark, say
from synhead.config import ConfigError

GENERATOR_FILE = "net_g.pth"
ESTIMATOR_FILE = "net_motion_estimator.pth"


def convert(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="NET_G NET_MOTION | CHECKPOINT",
            help="The published generator and motion estimator; with --to-official, one of our checkpoint folders.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")],
    to_official: Annotated[
        bool, typer.Option("--to-official", help=f"Write {GENERATOR_FILE} and {ESTIMATOR_FILE} instead.")
    ] = False,
) -> None:
    """Convert published weights to a checkpoint folder, or the published model back. No code in a file is ever run."""
    if to_official and len(inputs) != 1:
        raise ConfigError("--to-official takes one folder: synhead convert CHECKPOINT --to-official -o DIR")
    if not to_official and len(inputs) != 2:
        raise ConfigError("two files are needed: synhead convert NET_G NET_MOTION -o DIR")
    from synhead.weights import official  # heavy imports wait until a command runs
    from synhead.weights.checkpoint import read_info

    if to_official:
        official.export(inputs[0], output / GENERATOR_FILE, output / ESTIMATOR_FILE)
        say(f"{output / GENERATOR_FILE} and {output / ESTIMATOR_FILE}: written in the published form")
        if lost := official.lost(read_info(inputs[0]).model):
            remark(
                "note: this is not the published model, and neither the authors' code nor synhead convert can make it "
                f"of these files, which have no place for {', '.join(lost)}; keep {inputs[0]}",
                style="yellow",
            )
    else:
        official.convert(inputs[0], inputs[1], output)
        say(f"{output}: converted; try: synhead animate PORTRAIT DRIVING -o out.mp4 --checkpoint {output}")
