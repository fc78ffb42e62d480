"""The packages of the extra ``provenance``, which may be missing."""

from __future__ import annotations

from importlib.util import find_spec

CERTIFICATE_VARIABLE, KEY_VARIABLE = "SYNHEAD_SIGN_CERT", "SYNHEAD_SIGN_KEY"
"""Environment variables that name the signer's files."""
REMEDY = "pip install 'synhead[provenance]'"


def installed(package: str) -> bool:
    """Whether it can be imported."""
    return find_spec(package) is not None
