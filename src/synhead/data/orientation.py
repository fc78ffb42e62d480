"""How a video asks to be turned before it is shown (its display matrix)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame

from synhead.data.image import RgbImage


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to lay a picture: transpose first, then mirror."""

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    def upright(self, image: RgbImage) -> RgbImage:
        """The picture as it is to be shown (a view)."""
        turned = image.swapaxes(0, 1) if self.transposed else image
        return turned[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]


def orientation(picture: VideoFrame) -> Orientation:
    """From the display matrix, rows (a b u), (c d v), (x y w): (x', y') = (a x + c y, b x + d y), y downwards.

    Angles between the right ones are taken to the nearest; no matrix means upright.
    """
    data = picture.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, SideData):
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(mirrored=a < 0, flipped=d < 0)
    return Orientation(transposed=True, mirrored=c < 0, flipped=b < 0)
