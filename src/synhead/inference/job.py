"""Everything that one animation needs to know, as plain values that survive a trip through JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from synhead.config import ConfigError
from synhead.data.codecs import CodecChoice
from synhead.faces.framing import Framing
from synhead.inference.retargeting import Strengths
from synhead.provenance.errors import ProvenanceError
from synhead.provenance.label import check_text

Paste = Literal["auto", "always", "never"]
AudioFrom = Literal["driver", "source", "none"]

MIN_SIDE_LIMIT_PX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What is written; the output's name says which kind.

    ``paste_back``: lay animated squares into the source; ``auto``: if its crops were chosen, by face or by box, and it
    is larger than they are. ``max_side``: longest side in pixels of a pasted picture, None as large as the source.
    ``side_by_side``: source, driving frame and result in a row of squares instead. ``audio``: whose sound is kept.
    ``codec``, ``crf``: see codecs. ``label``: words shown in a corner of every picture, None for none.
    ``certificate`` and ``key``: who signs the marking as generated, see credentials; None: this machine's test signer.
    """

    paste_back: Paste = "auto"
    max_side: int | None = None
    side_by_side: bool = False
    audio: AudioFrom = "driver"
    codec: CodecChoice = "auto"
    crf: int | None = None
    label: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.side_by_side and self.paste_back == "always":
            raise ConfigError("a row of squares has no picture to paste back into; choose side by side or paste back")
        if self.max_side is not None and self.max_side < MIN_SIDE_LIMIT_PX:
            raise ConfigError(f"max side {self.max_side} must be {MIN_SIDE_LIMIT_PX} pixels or more")
        if self.label is not None:
            try:
                check_text(self.label)
            except ProvenanceError as error:
                raise ConfigError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimationJob:
    """``source`` (a photograph or a video) moves as ``driving`` does, into ``output``.

    ``framing`` and ``driving_framing``: which squares of them the model sees. ``reference``: index of the driving frame
    whose pose is taken to be the source's (relative motion). None: the one noted in a template, else the frame most
    like the source where faces can be compared, else the first. ``openings``: how large movements of mouth and eyes
    become.
    """

    source: Path
    driving: Path
    output: Path
    framing: Framing = field(default_factory=Framing)
    driving_framing: Framing = field(default_factory=Framing)
    reference: int | None = None
    openings: Strengths = field(default_factory=Strengths)
    options: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        if not self.driving_framing.one_face:
            raise ConfigError("one face drives: choose largest, leftmost or one number for the driver's face")
        if self.reference is not None and self.reference < 0:
            raise ConfigError(f"reference {self.reference} is no frame's index; they are counted from 0")
