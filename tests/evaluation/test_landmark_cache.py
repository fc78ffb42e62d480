from __future__ import annotations

import numpy as np

from synhead.evaluation.landmark_cache import LandmarkCache
from tests.evaluation.gauges.test_mesh import StubAnalyzer


def test_damaged_files_are_as_if_absent(make_trial, tmp_path):
    frames = make_trial("a").driving
    cache = LandmarkCache(tmp_path, "v")
    assert cache.get(frames) is None
    found = StubAnalyzer().landmarks(frames[0])[0]
    cache.put(frames, (None, found, None))
    kept = cache.get(frames)
    assert kept is not None
    assert (kept[0], kept[2]) == (None, None)
    np.testing.assert_array_equal(kept[1].points_px, found.points_px)
    assert LandmarkCache(tmp_path, "w").get(frames) is None
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:50])
    assert cache.get(frames) is None
