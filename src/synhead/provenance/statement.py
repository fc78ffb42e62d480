"""What a mark says, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

GENERATOR = "Synhead"
SourceType = Literal["trained", "composite"]

_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPES: dict[SourceType, str] = {
    "trained": _IPTC + "trainedAlgorithmicMedia",
    "composite": _IPTC + "compositeWithTrainedAlgorithmicMedia",
}
"""IPTC's words: made by a trained model; or pasted by one into a picture that is not (the face put back)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """That a file is generated, and by what.

    ``model``: name of the checkpoint; ``model_sha256``: hash of its weights. ``source_photo``: named as an ingredient,
    with a hash that identifies the file to everyone who has it; None (the default) keeps the user's inputs out.
    """

    source_type: SourceType = "trained"
    model: str = "unknown"
    model_sha256: str | None = None
    source_photo: Path | None = None

    @property
    def source_uri(self) -> str:
        """IPTC's ``digitalSourceType``."""
        return SOURCE_TYPES[self.source_type]
