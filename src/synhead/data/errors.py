"""The one error of the media edge, and its kind that is not the input's fault."""

from __future__ import annotations

from synhead.config import UserError


class MediaError(UserError, ValueError):
    """An image or video that cannot be read or written; the message is one line and names the remedy."""


class OutputError(MediaError):
    """What is to be written cannot be, as on a full disk: whatever the input is."""
