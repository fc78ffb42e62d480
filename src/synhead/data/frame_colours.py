"""Decoded video frames to 8-bit sRGB, whatever their tags say: matrix, range, HDR. For training and inference alike."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream

from synhead.data.image import RgbImage
from synhead.data.tone_mapping import HDR_TRANSFERS, hdr_to_srgb

__all__ = ["frame_to_srgb", "transfer_of"]

UNSPECIFIED_TRANSFER = 2
UNSPECIFIED_COLOURS, BT2020_COLOURS = 2, 9
HD_HEIGHT_PX = 720

_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def transfer_of(stream: VideoStream) -> int:
    """From light to codes, by the numbers of ITU-T H.273; 2 if the file does not say, or PyAV is too old to tell."""
    return int(getattr(stream.codec_context, "color_trc", UNSPECIFIED_TRANSFER))


def frame_to_srgb(
    reformatter: VideoReformatter,
    picture: VideoFrame,
    size: tuple[int, int],
    transfer: int,
    *,
    interpolation: str = "BILINEAR",
    threaded: bool = True,
) -> RgbImage:
    """``picture`` scaled to ``size``, (width, height), as 8-bit sRGB; not turned upright.

    ``transfer``: of its stream, by the numbers of ITU-T H.273. ``threaded``: false on threads of one's own.
    """
    deep = transfer in HDR_TRANSFERS
    rgb = reformatter.reformat(
        picture,
        *size,
        "rgb48le" if deep else "rgb24",
        src_colorspace=_matrix(picture, deep=deep),
        interpolation=interpolation,
        **({} if threaded else _ONE_THREAD),
    ).to_ndarray()
    return hdr_to_srgb(rgb.astype(np.uint16, copy=False), transfer) if deep else rgb.astype(np.uint8, copy=False)


def _matrix(picture: VideoFrame, *, deep: bool) -> int:
    """By which luma and chroma become RGB: as the picture says, or as is usual for such a one. ``deep``: it is HDR."""
    if picture.colorspace != UNSPECIFIED_COLOURS:
        return int(picture.colorspace)
    if deep:
        return BT2020_COLOURS
    return int(Colorspace.ITU709 if picture.height >= HD_HEIGHT_PX else Colorspace.ITU601)
