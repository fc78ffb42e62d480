"""What every output takes and gives, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar, runtime_checkable

from synhead.data.audio import AudioMode
from synhead.data.codecs import CodecChoice
from synhead.data.errors import MediaError, OutputError
from synhead.data.image import RgbImage

Self = TypeVar("Self", bound="Output")


@runtime_checkable
class Marking(Protocol):
    """Says of a file, in a form machines read, that it is generated (see the room ``provenance``)."""

    def packet(self, path: Path) -> str:
        """The XMP packet that a writer puts into ``path`` while it writes."""

    def finish(self, path: Path) -> None:
        """Complete the marking of the finished file ``path``, in place, before it gets its final name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """How an output is written.

    ``rate``: frames a second; the distance of frames written without a time. ``size``: (width, height) in pixels of
    all frames. ``marking``: None leaves the output unmarked. ``inputs``: files that must not be overwritten.
    ``audio_from``: media file (driver or source) whose sound goes with the pictures, cut to their span; kinds without
    sound ignore it. ``codec`` and ``crf``: see :mod:`codecs`; for videos only, an error for other kinds. ``time_base``:
    unit of the times that will be given, to keep them exact; default 1 / rate.
    """

    rate: Fraction
    size: tuple[int, int]
    marking: Marking | None
    inputs: tuple[Path, ...] = ()
    audio_from: Path | None = None
    codec: CodecChoice = "auto"
    crf: int | None = None
    time_base: Fraction | None = None

    @property
    def protected(self) -> tuple[Path, ...]:
        """Every file that the output must not replace."""
        return self.inputs if self.audio_from is None else (*self.inputs, self.audio_from)


class Output(ABC):
    """A context manager: the output appears under its name when the block ends well.

    If the block raises (Ctrl-C too), nothing is left behind and an earlier output stays as it was.
    """

    def __init__(self, path: Path, spec: OutputSpec) -> None:
        self.path = path
        self._spec = spec
        self._stack = ExitStack()
        self._origin: Fraction | None = None
        self._end = Fraction(0)

    @property
    def audio(self) -> AudioMode:
        """What happens to the sound; known inside the block."""
        return "none"

    def __enter__(self: Self) -> Self:
        with ExitStack() as stack:
            self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    @abstractmethod
    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Append a frame: at ``time`` (the first one's becomes zero) or one frame after the last. Times must grow."""

    @abstractmethod
    def _begin(self, stack: ExitStack) -> None:
        """Open what is needed; ``stack`` closes and cleans it up in every case."""

    @abstractmethod
    def _finish(self) -> None:
        """All frames are written: complete the temporary output, which then takes its final name."""

    def _embed(self, temporary: Path, packet: str) -> None:  # noqa: B027 - most kinds take it while they are written
        """Put the XMP packet into the complete temporary file."""

    def _mark(self, temporary: Path) -> None:
        """Complete the marking of the complete temporary file."""
        marking = self._spec.marking
        if marking is None:
            return
        try:
            self._embed(temporary, marking.packet(temporary))
        except OSError as error:
            raise self._failure(error.strerror) from error
        marking.finish(temporary)

    def _next(self, time: Fraction | None, duration: Fraction | None) -> Fraction:
        """When a frame begins, in seconds from the first one; the next may begin where it ends."""
        if self._origin is None:
            self._origin = time or Fraction(0)
        begin = self._end if time is None else time - self._origin
        self._end = begin + (duration or 1 / self._spec.rate)
        return begin

    def _nothing_written(self) -> MediaError:
        return MediaError(f"no frame was written to {self.path}; check the driving video")

    def _failure(self, reason: object) -> OutputError:
        return OutputError(f"{self.path} could not be written ({reason}); free space or choose another folder")
