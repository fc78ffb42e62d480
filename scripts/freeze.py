"""Writes constraints.txt: the tested version of every direct and transitive dependency of the package and its extras.

Run it inside the environment that passed the tests: ``python scripts/freeze.py > constraints.txt``. A pin whose release
needs a newer Python than the package's minimum gets a marker, so that older Pythons resolve it freely.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

HEADER = """\
# Versions the tests pass with (Python 3.11, Linux), for `pip install -c constraints.txt`; ranges are in pyproject.toml.
# Written by `python scripts/freeze.py`. numpy stays below 2 because mediapipe 0.10.21 (extra `faces`), the last release
# that ships its models, needs it.
"""
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
INSTALLERS = frozenset({"pip", "setuptools", "wheel"})
LEFT_TO_TORCH = frozenset({"triton"})  # GPU builds of torch want one release of it; tests take any


def requirements(dist: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    """Requirements of ``dist`` that apply here, with the given extras."""
    for line in dist.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield requirement


def closure(root: str) -> dict[str, Distribution]:
    """Installed distributions that ``root`` with all its extras reaches, by canonical name, without ``root``."""
    own = distribution(root)
    todo: list[tuple[str, frozenset[str]]] = [(root, frozenset(own.metadata.get_all("Provides-Extra") or ()))]
    seen: set[tuple[str, frozenset[str]]] = set()
    found: dict[str, Distribution] = {}
    while todo:
        name, extras = item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        try:
            dist = distribution(name)
        except PackageNotFoundError:
            print(f"not installed, so not pinned: {name}", file=sys.stderr)
            continue
        found[canonicalize_name(name)] = dist
        todo += [(r.name, frozenset(r.extras)) for r in requirements(dist, extras)]
    return {
        name: dist
        for name, dist in found.items()
        if name != canonicalize_name(root) and name not in INSTALLERS | LEFT_TO_TORCH
    }


def pin(name: str, dist: Distribution) -> str:
    """``name==version``, without a local part such as ``+cpu``, with a marker when old Pythons cannot install it."""
    line = f"{name}=={re.sub(r'[+].*', '', dist.version)}"
    supported = SpecifierSet(dist.metadata.get("Requires-Python") or "")
    oldest = next(python for python in PYTHONS if f"{python}.99" in supported)
    return line if oldest == PYTHONS[0] else f'{line}; python_version >= "{oldest}"'


if __name__ == "__main__":
    print(HEADER + "\n".join(pin(name, dist) for name, dist in sorted(closure("synhead").items())))
