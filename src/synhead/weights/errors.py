"""What can be wrong with weights, in one line with a remedy."""

from __future__ import annotations

from synhead.config import UserError


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be used; the message names what is wrong and what to do."""


def listed(names: list[str], limit: int = 8) -> str:
    """A readable, bounded list of names."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
