"""What every configuration raises."""

from __future__ import annotations


class ConfigError(ValueError):
    """A configuration that cannot be built; the message names the field and the remedy."""


def require(holds: object, message: str) -> None:
    """ConfigError with ``message`` unless ``holds``."""
    if not holds:
        raise ConfigError(message)
