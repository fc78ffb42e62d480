"""Decoded video frames to 8-bit sRGB: matrix, range, HDR and alpha, for training and inference alike."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, VideoReformatter
from av.video.stream import VideoStream

from synhead.data.image import RgbImage
from synhead.data.tone_mapping import HDR_TRANSFERS, hdr_to_srgb
from synhead.data.transparency import has_alpha, on_white

UNSPECIFIED_TRANSFER = 2
UNSPECIFIED_COLOURS, BT2020_COLOURS = 2, 9
HD_HEIGHT_PX = 720

_ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def transfer_of(stream: VideoStream) -> int:
    """From light to codes, by the numbers of ITU-T H.273; 2 if the file does not say, or PyAV is too old to tell."""
    return int(getattr(stream.codec_context, "color_trc", UNSPECIFIED_TRANSFER))


def is_transparent(stream: VideoStream) -> bool:
    """Whether a channel of alpha means what it says: AVI leaves the fourth byte of uncompressed pixels unset."""
    return bool(stream.codec_context.name != "rawvideo")


class FrameColours:
    """The way of one video's frames to 8-bit sRGB. ``transfer``, ``transparent``: of its stream."""

    def __init__(self, *, transfer: int, transparent: bool) -> None:
        self._transfer, self._transparent = transfer, transparent
        self._scaler, self._flattener = VideoReformatter(), VideoReformatter()

    def to_srgb(
        self, picture: VideoFrame, size: tuple[int, int], *, interpolation: str = "BILINEAR", threaded: bool = True
    ) -> RgbImage:
        """``picture`` on white, scaled to ``size``, (width, height); not turned upright.

        ``threaded``: false on threads of one's own. HDR with alpha is taken as opaque.
        """
        deep = self._transfer in HDR_TRANSFERS
        matrix = _matrix(picture, deep=deep)
        threads = {} if threaded else _ONE_THREAD
        if self._transparent and not deep and has_alpha(picture):
            picture = on_white(picture, self._flattener, matrix=matrix, **threads)
        rgb = self._scaler.reformat(
            picture,
            *size,
            "rgb48le" if deep else "rgb24",
            src_colorspace=matrix,
            interpolation=interpolation,
            **threads,
        ).to_ndarray()
        if deep:
            return hdr_to_srgb(rgb.astype(np.uint16, copy=False), self._transfer)
        return rgb.astype(np.uint8, copy=False)


def _matrix(picture: VideoFrame, *, deep: bool) -> int:
    """By which luma and chroma become RGB: as the picture says, or as is usual for such a one. ``deep``: it is HDR."""
    if picture.colorspace != UNSPECIFIED_COLOURS:
        return int(picture.colorspace)
    if deep:
        return BT2020_COLOURS
    return int(Colorspace.ITU709 if picture.height >= HD_HEIGHT_PX else Colorspace.ITU601)
