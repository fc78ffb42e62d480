"""Which of several faces is meant. Faces are numbered from left to right, from 0, as the crop preview shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from synhead.faces.analyzer import FaceBox, FaceError

Policy = Literal["all", "largest", "leftmost", "index"]
_WORDS: tuple[Policy, ...] = ("all", "largest", "leftmost")


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceChoice:
    """All faces, the largest, the leftmost, or those of ``indices``."""

    policy: Policy = "largest"
    indices: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> FaceChoice:
        """From ``all``, ``largest``, ``leftmost``, or numbers such as ``1`` or ``0,2``. Raises FaceError."""
        word = text.strip().lower()
        for policy in _WORDS:
            if word == policy:
                return cls(policy=policy)
        try:
            indices = tuple(dict.fromkeys(int(part) for part in word.split(",")))
        except ValueError:
            indices = (-1,)
        if min(indices) < 0:
            raise FaceError(f"face {text!r} is not understood; choose {', '.join(_WORDS)}, or numbers such as 0 or 0,2")
        return cls(policy="index", indices=indices)

    def of(self, faces: Sequence[FaceBox]) -> tuple[int, ...]:
        """Indices into ``faces``, which stand from left to right. Raises FaceError for an index that none has."""
        if not faces:
            return ()
        if self.policy == "all":
            return tuple(range(len(faces)))
        if self.policy == "leftmost":
            return (0,)
        if self.policy == "largest":
            return (max(range(len(faces)), key=lambda index: faces[index].box.area),)
        missing = [index for index in self.indices if index >= len(faces)]
        if missing:
            raise FaceError(f"there is no face {missing[0]}; choose one from 0 (leftmost) to {len(faces) - 1}")
        return self.indices


def left_to_right(faces: Sequence[FaceBox]) -> tuple[FaceBox, ...]:
    """The order in which faces are numbered."""
    return tuple(sorted(faces, key=lambda face: face.box.centre[0]))
