"""The ``synhead`` program: one sub-command a file, put together here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from synhead.app.ablate import ablate
from synhead.app.animate import animate
from synhead.app.batch import batch
from synhead.app.convert import convert
from synhead.app.doctor import doctor
from synhead.app.errors import guarded, show_traceback
from synhead.app.evaluate import evaluate
from synhead.app.export import export
from synhead.app.figures import figures
from synhead.app.info import info
from synhead.app.live.command import live
from synhead.app.prepare import prepare
from synhead.app.record import record
from synhead.app.score import score
from synhead.app.serve import serve
from synhead.app.study import study
from synhead.app.train import train
from synhead.app.verify import verify
from synhead.config.version import version

app = typer.Typer(
    name="synhead",
    help="Animate one portrait photo with the motion of a driving video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"synhead {version()}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback for errors, at any place.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Animate one portrait photo with the motion of a driving video."""
    show_traceback.set(debug)
    del version


for command in (
    animate,
    batch,
    live,
    record,
    verify,
    prepare,
    train,
    evaluate,
    score,
    ablate,
    figures,
    study,
    convert,
    export,
    info,
    doctor,
):
    app.command()(guarded(command))
app.command("web")(guarded(serve))  # the name web is that of its package


def main(arguments: list[str] | None = None) -> None:
    """Entry point; raises SystemExit with 0, 2 for errors of use or input, 130 for Ctrl-C, 143 and 129 for
    SIGTERM and SIGHUP.
    """
    given = sys.argv[1:] if arguments is None else arguments
    rest = [argument for argument in given if argument != "--debug"]
    app(args=["--debug", *rest] if len(rest) < len(given) else rest, prog_name="synhead")
