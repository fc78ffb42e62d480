"""``synhead export``: the per-frame graph of a checkpoint as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synhead.app.console import remarks, say
from synhead.app.models import choose, load
from synhead.app.options import PresetOption


def export(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder or hub id.", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("model.onnx"),
    preset: PresetOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Driving frames a call: a fixed size.")] = 1,
) -> None:
    """Write the per-frame graph as ONNX and verify it with onnxruntime (extra: onnx)."""
    from synhead.data.files import check_output
    from synhead.inference.export import TOLERANCE, export_onnx  # heavy imports wait until a command runs

    check_output(output, inputs=(), suffixes=(".onnx",))
    with remarks().status("exporting and comparing"):
        loaded = load(choose(checkpoint, preset))
        done = export_onnx(loaded.model, output, batch=batch)
    say(
        f"{done.path}: {loaded.name}, batch {done.batch}; onnxruntime differs by {done.difference:.1e} at most "
        f"(allowed {TOLERANCE:.0e})"
    )
