"""``synhead web``: the page and the HTTP API, from one server with one model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from synhead.app.animate import statement_of, warn_if_untrained
from synhead.app.models import EngineChoice, choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, EngineOption, PrecisionOption, PresetOption
from synhead.config import ConfigError

PASSWORD_VARIABLE = "SYNHEAD_WEB_PASSWORD"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own open it up.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8766,
    password: Annotated[
        str | None,
        typer.Option(envvar=PASSWORD_VARIABLE, help="Ask for it. Better in the variable: others see the command line."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Further names by which the server may be asked for.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Motion templates or clips to pick from on the page.")
    ] = None,
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Driving frames run together; default: 8 on a GPU, else 2.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where files of jobs are while they are kept; default: temporary."),
    ] = None,
    max_upload: Annotated[int, typer.Option(metavar="MB", min=1, help="Of a driving video.")] = 300,
    max_seconds: Annotated[float, typer.Option(help="Of a driving video, sent or offered.")] = 120.0,
    queue: Annotated[int, typer.Option(min=1, help="Jobs that may wait.")] = 16,
    keep: Annotated[int, typer.Option(min=1, help="Results kept, the newest.")] = 32,
    keep_minutes: Annotated[float, typer.Option(help="How long each is kept.")] = 60.0,
) -> None:
    """Serve the web page and the HTTP API."""
    from synhead.app.live.command import page_of  # heavy imports wait until a command runs
    from synhead.app.web.limits import Limits
    from synhead.app.web.serving import Doors, Model, serve_web
    from synhead.inference.animator import AnimatorOptions, select_device

    if password == "" or (password is None and os.environ.get(PASSWORD_VARIABLE) == ""):
        # such as of a variable that is not set: nobody wants to be open to all by that
        raise ConfigError(f"the password is empty; give one, or leave --password and {PASSWORD_VARIABLE} out")
    doors = Doors(host=host, port=port, hosts=tuple(allow_host or ()), password=password)
    limits = Limits(
        driving_bytes=max_upload * 1_000_000,
        seconds=max_seconds,
        waiting=queue,
        kept=keep,
        keep_seconds=60 * keep_minutes,
    )
    together = batch or (8 if select_device(device).type == "cuda" else 2)
    animator, loaded = load_animator(
        choose(checkpoint, preset),
        device=device,
        precision=precision,
        options=AnimatorOptions(batch_size=together),
        engine=EngineChoice(name=engine),
    )
    warn_if_untrained(loaded)
    serve_web(
        Model(animator=animator, statement=statement_of(loaded), trained=loaded.trained),
        doors,
        limits,
        templates=templates,
        folder=folder,
        routers=page_of(animator, loaded),
    )
