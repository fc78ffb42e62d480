"""``synhead verify``: what a file's mark says, and whether it still holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synhead.app.console import say

if TYPE_CHECKING:
    from synhead.provenance.verify import Verdict

EXIT_NOT_INTACT = 1
_CARRIERS = {
    "c2pa": "C2PA manifest",
    "seal": "XMP packet with a seal over the file",
    "xmp": "XMP packet alone",
    "none": "none",
}
_COLOURS = {"intact": "green", "broken": "red", "unsealed": "yellow", "unmarked": "yellow"}


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Output of Synhead, or a folder of its PNGs.")],
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Certificates (PEM or DER) of signers or issuers you trust.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Read the mark that says a file is generated. Exit code 0: marked and intact; 1: no mark, or it does not hold."""
    from synhead.data.files import check_input
    from synhead.provenance.certificates import read_anchors
    from synhead.provenance.verify import verify_file

    anchors = None if trust is None else read_anchors(check_input(trust))
    verdicts = [verify_file(check_input(path), anchors=anchors) for path in files_of(file)]
    if as_json:
        say(json.dumps(facts(file, verdicts), indent=2))
    else:
        show(file, verdicts)
    if not is_intact(verdicts):
        raise typer.Exit(EXIT_NOT_INTACT)


def files_of(path: Path) -> list[Path]:
    """The file itself, or the pictures of a folder. Raises MediaError for a folder without any."""
    from synhead.data.errors import MediaError
    from synhead.data.still_writer import sequence_files

    if not path.is_dir():
        return [path]
    files = sorted({*(sequence_files(path) or ()), *path.glob("*.png")})
    if not files:
        raise MediaError(f"{path} holds no PNG files; name a file, or a folder of pictures")
    return files


def is_intact(verdicts: list[Verdict]) -> bool:
    """Whether every file is marked and unchanged."""
    return all(verdict.state == "intact" for verdict in verdicts)


def facts(file: Path, verdicts: list[Verdict]) -> dict[str, Any]:
    """For programs: one entry a file."""
    entries = [{**asdict(verdict), "path": str(verdict.path)} for verdict in verdicts]
    return {"path": str(file), "intact": is_intact(verdicts), "files": entries}


def show(file: Path, verdicts: list[Verdict]) -> None:
    """For people: the first file whose mark does not hold, else the first."""
    shown = next((verdict for verdict in verdicts if verdict.state != "intact"), verdicts[0])
    intact = sum(verdict.state == "intact" for verdict in verdicts)
    if len(verdicts) > 1:
        say(f"{file}: {intact} of {len(verdicts)} pictures marked and intact; here {shown.path.name}")
    problem = f" ({shown.problem})" if shown.problem else ""
    say(f"{shown.path}: {shown.state}{problem}", style=_COLOURS[shown.state])
    say(f"mark: {_CARRIERS[shown.carrier]}")
    for name, value in (
        ("says", shown.source_type),
        ("made by", shown.generator),
        ("model", shown.model),
        ("model sha256", shown.model_sha256),
        ("signer", signer_line(shown)),
    ):
        if value:
            say(f"{name}: {value}")


def signer_line(verdict: Verdict) -> str | None:
    """Who signed, and what that is worth."""
    if verdict.carrier in ("none", "xmp"):
        return None
    if verdict.state != "intact":
        return f"{verdict.signer or 'unknown'}; a mark that does not hold proves nothing of it"
    if not verdict.signed:
        return "nobody: a hash alone, which whoever changes the file can renew"
    if verdict.trusted:
        return f"{verdict.signer}, trusted through the certificates you gave"
    return (
        f"{verdict.signer}, NOT trusted: no certificate you trust vouches for it (--trust FILE). "
        "It shows that the file is unchanged since it was marked, not who marked it"
    )
