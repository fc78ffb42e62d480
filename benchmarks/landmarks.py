"""Find the landmarks of training clips once, for `synhead train --landmarks` (needs mediapipe; training does not).

Of every frame twelve points are kept (lips, lids, corners, nose, chin), some 60 bytes a frame:

    python benchmarks/landmarks.py --data clips --out landmarks.npz
    synhead train --data clips --landmarks landmarks.npz --set losses.weights.landmarks=10
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from synhead.data.clips import open_clips
from synhead.data.decode import CLIP_ERRORS, decode_clip
from synhead.data.face_points import MESH, save_points
from synhead.data.records import Clip
from synhead.faces.analyzer import AnalyzerOptions
from synhead.faces.mediapipe_backend import open_analyzer
from synhead.types import NDArray


def find(clip: Clip, size: int) -> NDArray[Any] | None:
    """Points of every frame as shares of the side, NaN where there is no face; None for a clip that cannot be read."""
    try:
        frames = decode_clip(clip, size)
    except CLIP_ERRORS as error:
        print(f"skipped {clip.name}: {error}", file=sys.stderr)
        return None
    found = np.full((len(frames), len(MESH), 2), np.nan)
    with closing(open_analyzer(AnalyzerOptions(mode="video"))) as analyzer:
        for row, frame in zip(found, frames, strict=True):
            faces = analyzer.landmarks(frame)
            if faces:
                # points are in pixels whose corner, not centre, is the origin
                row[:] = faces[0].points_px[list(MESH)] / size
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Find and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2, help="threads")
    options = parser.parse_args(argv)
    clips, begun = open_clips(options.data, "train").clips, time.perf_counter()
    with ThreadPoolExecutor(options.workers) as pool:
        everything = zip(clips, pool.map(lambda clip: find(clip, options.size), clips), strict=True)
        points = {clip.name: found for clip, found in everything if found is not None}
    save_points(points, options.out)
    frames = sum(map(len, points.values()))
    missing = sum(int(np.isnan(found).any(axis=(1, 2)).sum()) for found in points.values())
    seconds = time.perf_counter() - begun
    print(f"{options.out}: {len(points)} clips, {frames} frames, {missing} without a face, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
