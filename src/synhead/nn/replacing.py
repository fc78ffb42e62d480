"""Other bricks in the place of some of a model's own."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def replace_children(parent: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> None:
    """Every module below ``parent`` gives way to its replacement; where there is none, those in it are asked for."""
    for name, child in list(parent.named_children()):
        instead = replacement(child)
        if instead is None:
            replace_children(child, replacement)
        else:
            setattr(parent, name, instead)
