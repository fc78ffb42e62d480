"""What goes wrong in live mode, told to the person in front of the camera."""

from __future__ import annotations

from synhead.config import UserError


class LiveError(UserError, ValueError):
    """``code``: for programs. ``remedy``: what the person can do. ``closing``: code with which a WebSocket closes."""

    def __init__(self, code: str, message: str, remedy: str, *, closing: int = 1008) -> None:
        super().__init__(f"{message}; {remedy}")
        self.code, self.message, self.remedy, self.closing = code, message, remedy, closing

    @classmethod
    def of(cls, code: str, error: Exception) -> LiveError:
        """An error of another room, whose one line names the remedy behind its first semicolon."""
        message, _, remedy = " ".join(str(error).split()).partition("; ")
        return cls(code, message, remedy or "try another one")
