"""Transparent pictures of videos, laid on the white on which transparent stills lie too."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

OPAQUE = 255


def has_alpha(picture: VideoFrame) -> bool:
    """Whether its pixels can be transparent."""
    return any(component.is_alpha for component in picture.format.components)


def on_white(picture: VideoFrame, reformatter: VideoReformatter, *, matrix: int, **threads: int) -> VideoFrame:
    """The picture as opaque 8-bit RGB of the same size. ``matrix``: by which luma and chroma become RGB.

    Before it is scaled: the hidden colours of transparent pixels would run into their neighbours.
    """
    pixels = reformatter.reformat(picture, format="rgba", src_colorspace=matrix, **threads).to_ndarray()
    colours, alpha = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    laid = (colours * alpha + OPAQUE * (OPAQUE - alpha) + OPAQUE // 2) // OPAQUE
    return VideoFrame.from_ndarray(laid.astype(np.uint8), format="rgb24")
