"""Participants' codes: whoever knows one can go on in its owner's place, so they cannot be guessed; people copy them
from a screen by hand, so they hold no letters that look alike, and how they are typed matters little.
"""

from __future__ import annotations

import secrets

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without i, l, o, 0 and 1."""
GROUPS, LETTERS = 3, 5
"""15 letters of 31: 74 bits."""


def new_code() -> str:
    """Such as ``k7fq2-mwdx9-hbtrs``."""
    return _grouped("".join(secrets.choice(ALPHABET) for _ in range(GROUPS * LETTERS)))


def respelled(typed: str) -> str | None:
    """A code of :func:`new_code` that was typed in capitals or without hyphens; None for any other."""
    letters = typed.lower().replace("-", "").replace("_", "")
    return _grouped(letters) if len(letters) == GROUPS * LETTERS and set(letters) <= set(ALPHABET) else None


def _grouped(letters: str) -> str:
    return "-".join(letters[start : start + LETTERS] for start in range(0, len(letters), LETTERS))
