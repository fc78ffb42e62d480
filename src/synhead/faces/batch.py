"""Landmarks of many pictures on several cores: mediapipe is the slow part of every face figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from queue import SimpleQueue

import numpy as np
from jaxtyping import UInt8

from synhead.faces.analyzer import FaceAnalyzer, FaceLandmarks
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.types import NDArray

__all__ = ["largest_faces"]

Pictures = UInt8[NDArray[np.uint8], "_ _ _ 3"]


def largest_faces(
    groups: Sequence[Pictures], *, workers: int = 1, opener: Callable[[], FaceAnalyzer] = open_analyzer
) -> Iterator[tuple[FaceLandmarks | None, ...]]:
    """For each group of pictures in turn, the largest face of each picture, or None where there is none.

    ``opener`` makes an analyzer in image mode, one for each of ``workers`` threads: mediapipe computes without the
    interpreter's lock. All are closed at the end.
    """
    with ExitStack() as stack:
        idle: SimpleQueue[FaceAnalyzer] = SimpleQueue()
        for _ in range(max(1, workers)):
            idle.put(stack.enter_context(closing(opener())))

        def analyze(group: Pictures) -> tuple[FaceLandmarks | None, ...]:
            analyzer = idle.get()
            try:
                return _largest(analyzer, group)
            finally:
                idle.put(analyzer)

        yield from stack.enter_context(ThreadPoolExecutor(max(1, workers))).map(analyze, groups)


def _largest(analyzer: FaceAnalyzer, group: Pictures) -> tuple[FaceLandmarks | None, ...]:
    seen: dict[bytes, FaceLandmarks | None] = {}  # a still is analysed once
    for picture in group:
        key = picture.tobytes()
        if key not in seen:
            seen[key] = next(iter(analyzer.landmarks(picture)), None)
    return tuple(seen[picture.tobytes()] for picture in group)
