"""``synhead study``: a blinded ranking of videos by people, on a local web page, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synhead.app.console import remark, results, say

if TYPE_CHECKING:
    from synhead.app.user_study.results import Results

VIDEOS_HELP = (
    "Folders of videos, one a system, as FOLDER or NAME=FOLDER; equal file names are the same example. "
    "Or: results ANSWERS, to see what came of a study."
)


def study(
    videos: Annotated[list[str], typer.Argument(metavar="VIDEOS... | results ANSWERS", help=VIDEOS_HELP)],
    answers: Annotated[Path, typer.Option(help="SQLite file of the answers; an existing one is gone on with.")] = Path(
        "study.sqlite"
    ),
    references: Annotated[
        Path | None, typer.Option(help="Folder of videos or pictures that everybody sees: source and driver.")
    ] = None,
    together: Annotated[int, typer.Option(min=0, help="Systems on one page, 2 for pairs; 0: all.")] = 0,
    pages: Annotated[int, typer.Option(min=0, help="Pages of a participant at most; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the order of pages and videos, and of the intervals.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own open it up.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8765,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for results; default: beside ANSWERS.")
    ] = None,
) -> None:
    """Let people rank videos without knowing who made them; then show mean ranks and Bradley-Terry scores."""
    if videos[0] == "results":
        _show_results(videos[1:], output, seed)
        return
    from synhead.app.user_study.material import gather  # heavy imports wait until a command runs
    from synhead.app.user_study.pages import Design
    from synhead.app.user_study.serving import serve
    from synhead.app.user_study.storage import Storage

    material = gather(videos, references)
    design = Design(together=together, pages=pages, seed=seed)
    design.check(len(material.systems))
    if material.left_out:
        remark(f"note: left out, as not every system has them: {', '.join(material.left_out)}", style="yellow")
    remark(f"{len(material.systems)} systems, {len(material.examples)} examples; answers: {answers}")
    serve(material, design, Storage(answers), host=host, port=port)


def _show_results(given: list[str], output: Path | None, seed: int) -> None:
    from synhead.app.user_study.results import compute, write
    from synhead.app.user_study.storage import Storage
    from synhead.config import ConfigError

    if len(given) != 1:
        raise ConfigError("give one file of answers: synhead study results study.sqlite")
    answers = Path(given[0])
    found = compute(Storage(answers), seed=seed)
    _print(found)
    for path in write(found, output or answers.parent):
        say(str(path))


def _print(found: Results) -> None:
    from rich.table import Table

    say(f"{found.participants} participants, {found.pages} pages; intervals: 95 %, bootstrap over participants")
    if found.participants < 2:
        remark("note: one participant gives no interval", style="yellow")
    if found.unseen:
        remark(f"note: no answered page shows {', '.join(found.unseen)}", style="yellow")
    for question, standings in found.questions.items():
        table = Table("system", title=question)
        for heading in ("mean rank (1 is best)", "Bradley-Terry score", "shown"):
            table.add_column(heading, justify="right")
        for one in sorted(standings, key=lambda standing: standing.mean_rank.value):
            rank, score = one.mean_rank, one.score
            table.add_row(
                one.system,
                f"{rank.value:.2f} ({rank.low:.2f} to {rank.high:.2f})",
                f"{score.value:+.2f} ({score.low:+.2f} to {score.high:+.2f})",
                str(one.shown),
            )
        results().print(table)
