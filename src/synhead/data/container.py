"""Opening and closing media files with FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import av
import av.error
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.frame import Frame
from av.packet import Packet

from synhead.data.errors import MediaError
from synhead.data.files import check_input

if TYPE_CHECKING:
    AnyPacket = Packet[Any]
else:
    AnyPacket = Packet  # generic for the type checker only

FrameT = TypeVar("FrameT", bound=Frame)

# Odd bytes in titles are no reason to refuse a file; since version 19 PyAV replaces them by itself.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_media(path: Path) -> InputContainer:
    """Open a local media file for reading (nothing it refers to elsewhere is followed). Raises MediaError."""
    check_input(path)
    try:
        return av.open(f"file:{path}", mode="r", container_options={"protocol_whitelist": "file"}, **_METADATA)
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{path} is not a video that can be read ({error.strerror}); give a video such as MP4, MOV or WebM"
        ) from error


def close_quietly(container: OutputContainer) -> None:
    """For files that are thrown away or complete by now, so that a failure to finish them says nothing new."""
    with suppress(av.error.FFmpegError):
        container.close()


def filtered(graph: Graph, kind: type[FrameT]) -> Iterator[FrameT]:
    """The frames that come out of ``graph`` until it wants more, or has ended."""
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, kind):
            yield frame
