"""Names of files come out as they are, whatever they look like and whatever the terminal can show."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from rich.table import Table

from synhead.app.console import remark, results, say

ODD = "my :smile: [red] [/] take.mp4"


def test_neither_markup_nor_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"{ODD}: 5 frames")
    remark(f"error: {ODD} does not exist", style="red")
    told = capsys.readouterr()
    assert told.out == f"{ODD}: 5 frames\n"
    assert told.err == f"error: {ODD} does not exist\n"
    table = Table("system")
    table.add_row(ODD)
    results().print(table)
    assert ODD in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are Unicode there")
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8:strict", b"take-\xff \xc3\xa9.mp4"),
        ("ascii:strict", b"take-\xff \\xe9.mp4"),
        ("ascii:surrogateescape", b"take-\xff \\xe9.mp4"),
        ("ascii:replace", b"take-? ?.mp4"),
    ],
)
def test_names_that_the_terminal_cannot_show(encoding: str, expected: bytes) -> None:
    code = "import sys; from synhead.app.console import *; say(sys.argv[1]); remark(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, "take-\udcff é.mp4"],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.rstrip() == expected
    assert done.stderr.rstrip() == (b"take-\xff \\xe9.mp4" if encoding == "ascii:replace" else expected)
