"""``synhead live``: a portrait follows a camera at once, in the browser or as a virtual camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synhead.app.animate import statement_of, warn_if_untrained
from synhead.app.console import remark, say
from synhead.app.models import EngineChoice, LoadedModel, choose, load_animator
from synhead.app.options import CheckpointOption, DeviceOption, EngineOption, PrecisionOption, PresetOption
from synhead.config import ConfigError

if TYPE_CHECKING:
    from fastapi import APIRouter

    from synhead.app.live.router import LiveModel
    from synhead.data.image import RgbImage
    from synhead.inference.animator import Animator

RATE = 25.0
LABEL = "AI-generated"
HOST, PORT = "127.0.0.1", 8770


def live(
    portrait: Annotated[
        Path | None, typer.Argument(metavar="PORTRAIT", help="Photo of a person who agreed; not with --serve.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="A page for the browser instead, on this machine.")] = False,
    camera: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Camera that drives; default: the first.", show_default=False)
    ] = None,
    driving: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="A video instead of a camera, over and over.")
    ] = None,
    virtual_camera: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Virtual camera shown to other programs; default: the first."),
    ] = None,
    checkpoint: CheckpointOption = None,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    center: Annotated[
        bool, typer.Option("--center", help="Take PORTRAIT's middle, without looking for a face.")
    ] = False,
    multiplier: Annotated[float, typer.Option(help="How large movements become; 1 as the driver's.")] = 1.0,
    smooth: Annotated[float, typer.Option(min=0.0, help="Frames by which a still face lags; 0: none.")] = 0.0,
    label: Annotated[str, typer.Option(metavar="TEXT", help="Words in a corner; '' for none.")] = LABEL,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Stop after so long; default: with Ctrl-C.")] = None,
    host: Annotated[str, typer.Option(help="Address for --serve; others than this machine's own open it up.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve; 0: any that is free.")] = PORT,
) -> None:
    """Let PORTRAIT follow a camera live."""
    if serve == (portrait is not None):
        raise ConfigError("give PORTRAIT, or --serve, where it is chosen on the page; not both")
    elsewhere: dict[str, object] = {
        "--center": center,
        "--multiplier": multiplier != 1,
        "--smooth": smooth > 0,
        "--label": label != LABEL,
        "--seconds": seconds is not None,
    }
    mirrored: dict[str, object] = {"--camera": camera, "--driving": driving, "--virtual-camera": virtual_camera}
    if serve:
        refuse(elsewhere | mirrored, "the page's own camera drives, and movement and crop are chosen there")
        serve_page = page_server()
    else:
        refuse(
            {"--host": host != HOST, "--port": port != PORT}, "they are the page's, and there is none without --serve"
        )
        refuse({"--camera": driving is not None and camera}, "--driving names who drives")
        picture = inputs(portrait, driving)
    from synhead.app.live.session import LiveOptions  # heavy imports wait until a command runs

    options = LiveOptions(crop="center" if center else "auto", multiplier=multiplier, smooth=smooth, label=label)
    chosen = choose(checkpoint, preset)
    animator, loaded = load_animator(
        chosen, device=device, precision=precision, options=options.motion(), engine=EngineChoice(name=engine)
    )
    warn_if_untrained(loaded)
    if serve:
        serve_page(animator, about(loaded), host=host, port=port)
        return
    from contextlib import ExitStack

    from synhead.app.live.cameras import VirtualCamera, camera_frames, video_frames
    from synhead.app.live.mirror import run_mirror
    from synhead.app.live.session import open_session

    with ExitStack() as stack:
        session = open_session(animator, picture, options, stack)
        display = stack.enter_context(VirtualCamera(session.size, RATE, virtual_camera))
        frames = camera_frames(camera) if driving is None else video_frames(driving)
        say(f"virtual camera: {display.device}")
        remark("stop with Ctrl-C")
        found = run_mirror(session, frames, display, seconds=seconds, told=lambda figures: remark(figures.line))
    say(found.line)


def page_server() -> Callable[..., None]:
    """What serves the page. Raises ConfigError where it is not installed."""
    try:
        from synhead.app.live.serving import serve
    except ModuleNotFoundError as error:  # the browser's part of an extra that also finds faces
        raise ConfigError(f"the live page needs {error.name}; pip install 'synhead[live]'") from error
    return serve


def inputs(portrait: Path | None, driving: Path | None) -> RgbImage:
    """The portrait. Raises MediaError for it, or for a video that cannot drive, before a model is loaded."""
    from synhead.data.image import read_image
    from synhead.data.video import probe

    assert portrait is not None
    if driving is not None:
        probe(driving)
    return read_image(portrait)


def refuse(given: dict[str, object], reason: str) -> None:
    """ConfigError that names the options which would have no effect."""
    vain = [name for name, value in given.items() if value]
    if vain:
        raise ConfigError(f"{', '.join(vain)}: without effect here, as {reason}; leave {' and '.join(vain)} out")


def about(loaded: LoadedModel) -> LiveModel:
    """What the live page says of the model."""
    from synhead.app.live.router import LiveModel

    note = "" if loaded.trained else f"These weights are UNTRAINED ({loaded.name}): what moves is not a face."
    return LiveModel(statement=statement_of(loaded), note=note)


def page_of(animator: Animator, loaded: LoadedModel) -> tuple[APIRouter, ...]:
    """The live page for another server; none where websockets is not installed, without which it cannot connect."""
    from importlib.util import find_spec

    from synhead.app.live.router import live_router

    if find_spec("websockets") is None:
        return ()
    return (live_router(lambda: animator, about=about(loaded)),)
