"""The version of the package, also where it runs from its source folder without being installed."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """As installed, else ``0+source``."""
    try:
        return metadata.version("synhead")
    except metadata.PackageNotFoundError:
        return "0+source"
