"""The packages of the extra ``provenance``, which may be missing."""

from __future__ import annotations

from importlib.util import find_spec

REMEDY = "pip install 'synhead[provenance]'"


def installed(package: str) -> bool:
    """Whether it can be imported."""
    return find_spec(package) is not None
