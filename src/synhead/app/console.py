"""Where the program writes: results to standard output, progress and remarks to standard error."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from rich.console import Console


@cache
def _console(*, stderr: bool) -> Console:
    return Console(stderr=stderr, highlight=False)


def results() -> Console:
    """Standard output."""
    return _console(stderr=False)


def remarks() -> Console:
    """Standard error."""
    return _console(stderr=True)


def say(text: str, *, style: str | None = None) -> None:
    """One line of result, never wrapped."""
    results().print(text, style=style, markup=False, soft_wrap=True)


def remark(text: str, *, style: str | None = None) -> None:
    """One line for the person at the terminal, never wrapped, on standard error; lost where that was closed."""
    with suppress(OSError):  # a terminal that is gone must not keep the work from its end, or from its clean-up
        remarks().print(text, style=style, markup=False, soft_wrap=True)
