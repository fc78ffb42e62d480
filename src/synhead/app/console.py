"""Where the program writes: results to standard output, progress and remarks to standard error."""

from __future__ import annotations

import codecs
import sys
from contextlib import suppress
from functools import cache

from rich.console import Console

_AS_IT_IS = "synhead.as_it_is"


def _raw_or_escaped(error: UnicodeError) -> tuple[bytes, int]:
    """Bytes of file names that are no text come out as those bytes; what the encoding lacks as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start]
    raw = "\udc80" <= part <= "\udcff"
    return part.encode("utf-8", "surrogateescape") if raw else part.encode("ascii", "backslashreplace"), error.start + 1


codecs.register_error(_AS_IT_IS, _raw_or_escaped)


@cache
def _console(*, stderr: bool) -> Console:
    # names of files may look like rich's markup or emoji codes
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def results() -> Console:
    """Standard output."""
    _take_every_name(sys.stdout)
    return _console(stderr=False)


def remarks() -> Console:
    """Standard error."""
    _take_every_name(sys.stderr)
    return _console(stderr=True)


def say(text: str, *, style: str | None = None) -> None:
    """One line of result, never wrapped."""
    results().print(text, style=style, soft_wrap=True)


def remark(text: str, *, style: str | None = None) -> None:
    """One line for the person at the terminal, never wrapped, on standard error; lost where that was closed."""
    with suppress(OSError):  # a terminal that is gone must not keep the work from its end, or from its clean-up
        remarks().print(text, style=style, soft_wrap=True)


def _take_every_name(stream: object) -> None:
    """No file's name is an error of its own where it is told; what else PYTHONIOENCODING asks for holds."""
    usual = ("strict", "surrogateescape", "backslashreplace")
    if getattr(stream, "errors", None) in usual and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=_AS_IT_IS)
