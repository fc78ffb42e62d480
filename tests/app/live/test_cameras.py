from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from synhead.app.live import cameras
from synhead.app.live.cameras import VirtualCamera, camera_frames, video_frames
from synhead.config import ConfigError
from synhead.data.video import Frame, VideoReader
from tests.data.clip_factory import write_video
from tests.data.video_factory import level, write_clip


def test_a_video_comes_over_and_over_when_it_is_due(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", frames=5, size=64)
    start = time.perf_counter()
    pictures = list(islice(video_frames(path), 12))
    assert 0.3 < time.perf_counter() - start < 2, "twelve at 25 a second"
    assert pictures[0].shape == (64, 64, 3)
    assert np.array_equal(pictures[0], pictures[5])


def test_pictures_that_are_late_are_left_out(tmp_path: Path) -> None:
    frames = video_frames(write_video(tmp_path / "v.mp4", frames=20, size=64))
    first = next(frames)
    time.sleep(0.4)
    second = next(frames)
    assert second[0, 0, 1] > first[0, 0, 1] + 60, "green is ten times the frame"


def test_the_first_picture_comes_at_once_and_the_last_stays_as_long_as_it_lasts(tmp_path: Path) -> None:
    """Trimmed videos begin late on their own clock."""
    times = [Fraction(3), Fraction(7, 2)]
    path = write_clip(tmp_path / "v.mp4", times, rate=Fraction(2), time_base=Fraction(1, 16))
    frames = video_frames(path)
    start = time.perf_counter()
    came = [time.perf_counter() - start for _ in islice(frames, 4)]
    assert came == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.4)


def test_a_video_that_is_slow_to_decode_moves_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(VideoReader):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                time.sleep(0.05)
                yield frame

    monkeypatch.setattr(cameras, "VideoReader", Slow)
    path = write_clip(tmp_path / "v.mp4", 24, rate=Fraction(100))
    levels = [level(picture) for picture in islice(video_frames(path), 4)]
    assert len(set(levels)) >= 3


def test_a_camera_that_ffmpeg_opens_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cameras, "_DEVICES", {cameras.platform.system(): ("lavfi", "testsrc=size=64x48:rate=25")})
    monkeypatch.setattr(cameras, "_WANTED", {})
    pictures = list(islice(camera_frames(None), 3))
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 3
    assert pictures[0].dtype == np.uint8


def test_a_camera_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no camera /dev/none .*--driving VIDEO"):
        next(camera_frames("/dev/none"))
    monkeypatch.setattr(cameras.platform, "system", lambda: "Windows")
    with pytest.raises(ConfigError, match="name the camera"):
        next(camera_frames(None))


class FakeCamera:
    def __init__(self, width: int, height: int, fps: float, device: str | None) -> None:
        self.size, self.device, self.sent, self.closed = (width, height, fps), device or "/dev/video9", [], False

    def send(self, picture: np.ndarray) -> None:
        self.sent.append(picture)

    def close(self) -> None:
        self.closed = True


def test_a_virtual_camera_gets_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeCamera))
    with VirtualCamera(64, 25.0) as camera:
        camera.send(np.zeros((64, 64, 3), np.uint8))
        assert camera.device == "/dev/video9"
        behind = camera._camera
    assert (behind.size, len(behind.sent), behind.closed) == ((64, 64, 25.0), 1, True)


def test_no_virtual_camera_names_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback device found\nat all.")

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=fail))
    with pytest.raises(ConfigError, match=r"modprobe v4l2loopback.*--serve"):
        VirtualCamera(64, 25.0)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(ConfigError, match=r"synhead\[live\]"):
        VirtualCamera(64, 25.0)
