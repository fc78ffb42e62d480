"""What users are told of their mistakes and of their machine's, and what every configuration raises."""

from __future__ import annotations


class UserError(Exception):
    """Expected, and written for users: a message of one line that names the remedy, which commands show alone."""

    def __init__(self, message: object) -> None:
        super().__init__(" ".join(str(message).split()))


class ConfigError(UserError, ValueError):
    """A configuration that cannot be built; the message names the field and the remedy."""


def require(holds: object, message: str) -> None:
    """ConfigError with ``message`` unless ``holds``."""
    if not holds:
        raise ConfigError(message)
