"""Pictures whose values say where a pixel is, and a detector that finds painted faces."""

from __future__ import annotations

import numpy as np

from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box


def slopes(width: int, height: int) -> np.ndarray:
    """Red is x, green is y, blue falls along the diagonal; at most 255 pixels a side."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, 255 - (x + y) // 2], axis=-1).clip(0, 255).astype(np.uint8)


def waves(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    grey = 127 + 60 * np.sin(x / 7) * np.cos(y / 5)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)


class RedDetector:
    """A face is a rectangle of pure red, in a picture of which it is at least ``visible`` wide, as small faces are
    not seen in large pictures. ``calls`` counts looks.
    """

    version = "red"

    def __init__(self, visible: float = 0.0) -> None:
        self.visible, self.calls = visible, 0

    def boxes(self, image: np.ndarray) -> tuple[FaceBox, ...]:
        self.calls += 1
        red = (image[..., 0] > 200) & (image[..., 1:].max(axis=-1) < 60)
        columns = np.flatnonzero(red.any(axis=0))
        found = []
        for group in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1) if columns.size else ():
            rows = np.flatnonzero(red[:, group].any(axis=1))
            box = Box(float(group[0]), float(rows[0]), float(group[-1] + 1), float(rows[-1] + 1))
            if box.width >= self.visible * image.shape[1]:
                found.append(FaceBox(box, 0.9))
        return tuple(sorted(found, key=lambda face: -face.box.area))

    def close(self) -> None:
        pass


def painted(width: int, height: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Grey, with a face in each box."""
    image = np.full((height, width, 3), 120, np.uint8)
    for left, top, right, bottom in boxes:
        image[top:bottom, left:right] = (255, 0, 0)
    return image
