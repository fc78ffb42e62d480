"""Clips to arrays of uint8 RGB frames of one size."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from jaxtyping import UInt8
from PIL import Image

from synhead.data.frame_colours import FrameColours, is_transparent, transfer_of
from synhead.data.orientation import orientation
from synhead.data.records import Clip, DataError, frame_paths
from synhead.types import NDArray

Frames = UInt8[NDArray[np.uint8], "n h w 3"]
CLIP_ERRORS = (DataError, av.error.FFmpegError, OSError, ValueError)
"""What an unreadable clip raises (Pillow's and PyAV's errors among them)."""

_SQUARE_TOLERANCE = 0.02
_SEEK_BEYOND = 64


def decode_clip(clip: Clip, size: int) -> Frames:
    """All frames of ``clip``, ``size`` x ``size``.

    Raises:
        DataError: fewer than two frames, or a picture that is not square.
        av.error.FFmpegError, OSError: the file cannot be read or decoded.
    """
    frames = list(_all_frames(clip, size))
    if len(frames) < 2:
        raise DataError(f"{len(frames)} frame(s); a clip needs two")
    return np.stack(frames)


def decode_frames(clip: Clip, indices: tuple[int, ...], size: int) -> Frames:
    """The frames at ``indices`` (in any order, of :func:`count_frames`), without decoding the whole clip.

    Errors as in :func:`decode_clip`.
    """
    if clip.path.is_dir():
        paths = frame_paths(clip.path)
        return np.stack([_read_image(paths[index], size) for index in indices])
    with _Video(clip) as video:
        wanted = {index: video.frame(index, size) for index in sorted(set(indices))}
    return np.stack([wanted[index] for index in indices])


def count_frames(clip: Clip) -> int:
    """Number of frames, from the folder or the container's header, or by counting packets where it does not say."""
    if clip.path.is_dir():
        return len(frame_paths(clip.path))
    with _Video(clip) as video:
        return video.frame_count()


def _all_frames(clip: Clip, size: int) -> Iterator[UInt8[NDArray[np.uint8], "h w 3"]]:
    if clip.path.is_dir():
        for path in frame_paths(clip.path):
            yield _read_image(path, size)
        return
    with _Video(clip) as video:
        yield from video.frames(size)


def _require_square(width: int, height: int) -> None:
    if abs(width - height) > _SQUARE_TOLERANCE * max(width, height):
        raise DataError(f"picture is {width}x{height}, not square; make face clips with `synhead prepare`")


def _read_image(path: Path, size: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
    with Image.open(path) as image:
        _require_square(image.width, image.height)
        picture = image.convert("RGB")
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return np.array(picture)


class _Video:
    """One open video, decoded on the calling thread: parallelism is over clips, not within one."""

    def __init__(self, clip: Clip) -> None:
        opened: Path | io.BytesIO = clip.video()
        self._container: InputContainer = av.open(str(opened) if isinstance(opened, Path) else opened, mode="r")
        if not self._container.streams.video:
            self._container.close()
            raise DataError("no video in it")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "NONE"
        self._colours = FrameColours(transfer=transfer_of(self._stream), transparent=is_transparent(self._stream))
        self._decoding: Iterator[VideoFrame] = iter(())
        self._next: int | None = None

    def __enter__(self) -> _Video:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frame_count(self) -> int:
        count = int(self._stream.frames)
        return count or sum(packet.size > 0 for packet in self._container.demux(self._stream))

    def frames(self, size: int) -> Iterator[UInt8[NDArray[np.uint8], "h w 3"]]:
        for frame in self._container.decode(self._stream):
            yield self._convert(frame, size)

    def frame(self, index: int, size: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
        """Frame ``index`` by time: decodes on where it is little ahead, else seeks to the key frame before it."""
        start = self._stream.start_time or 0
        rate, unit = self._stream.average_rate, self._stream.time_base
        if not rate or not unit:
            raise DataError("video without a frame rate")
        earliest = start + round((index - 0.5) / rate / unit)
        if self._next is None or not 0 <= index - self._next <= _SEEK_BEYOND:
            self._container.seek(max(start, earliest), stream=self._stream)
            self._decoding = self._container.decode(self._stream)
        last = None
        for frame in self._decoding:
            last = frame
            if frame.pts is not None and frame.pts >= earliest:
                break
        if last is None:
            raise DataError(f"no frame {index}")
        self._next = index + 1
        return self._convert(last, size)

    def _convert(self, frame: VideoFrame, size: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
        _require_square(frame.width, frame.height)
        how = "AREA" if frame.width > size else "BILINEAR"
        picture = self._colours.to_srgb(frame, (size, size), interpolation=how, threaded=False)
        return orientation(frame).upright(picture)
