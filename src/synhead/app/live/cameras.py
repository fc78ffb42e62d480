"""Where live frames come from and go to without a browser: a camera or a video, and a virtual camera."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import av
import av.error
import numpy as np

from synhead.config import ConfigError
from synhead.data.image import RgbImage
from synhead.data.video import VideoReader

_DEVICES = {"Linux": ("v4l2", "/dev/video0"), "Darwin": ("avfoundation", "0"), "Windows": ("dshow", None)}
"""FFmpeg's input for cameras, and the first camera's name, where there is one."""
PATIENCE_S = 0.2
"""So long nothing is shown of a video that is decoded more slowly than it plays."""
_WANTED = {"video_size": "640x480", "framerate": "30"}


@runtime_checkable
class Display(Protocol):
    """Shows pictures."""

    def send(self, picture: RgbImage) -> None:
        """The next picture, at once."""


class VirtualCamera(AbstractContextManager["VirtualCamera"]):
    """A camera that other programs see. ``device``: its name, by default the first that is free."""

    def __init__(self, size: int, rate: float, device: str | None = None) -> None:
        try:
            import pyvirtualcam  # an extra
        except ImportError as error:
            raise ConfigError("a virtual camera needs pyvirtualcam; pip install 'synhead[live]'") from error
        try:
            self._camera: Any = pyvirtualcam.Camera(width=size, height=size, fps=rate, device=device)
        except RuntimeError as error:
            raise ConfigError(
                f"no virtual camera can be opened ({' '.join(str(error).split())}); on Linux load v4l2loopback "
                "(modprobe v4l2loopback), on macOS and Windows install OBS; or use the page: synhead live --serve"
            ) from error

    @property
    def device(self) -> str:
        """Under which name other programs see it."""
        return str(self._camera.device)

    def send(self, picture: RgbImage) -> None:
        """See Display."""
        self._camera.send(picture)

    def __exit__(self, *_: object) -> None:
        self._camera.close()


def camera_frames(device: str | None) -> Iterator[RgbImage]:
    """Pictures as the camera takes them, until it is gone. Raises ConfigError if there is no such camera."""
    kind, first = _DEVICES.get(platform.system(), ("v4l2", None))
    name = device or first
    if name is None:
        raise ConfigError("name the camera: --camera 'video=NAME', as ffmpeg -list_devices true -f dshow -i dummy says")
    try:
        container = av.open(name, format=kind, options=_WANTED)
    except (av.error.FFmpegError, ValueError) as error:
        raise ConfigError(
            f"no camera {name} can be opened ({error}); connect one, name it with --camera, "
            "or drive with --driving VIDEO"
        ) from error
    with closing(container):
        for frame in container.decode(video=0):
            yield np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def video_frames(path: Path) -> Iterator[RgbImage]:
    """A video over and over, each picture when it is due; those that are late are left out, but for some where all are.

    Raises MediaError.
    """
    begun = looked = time.perf_counter()
    while True:
        first: Fraction | None = None
        end = begun
        with VideoReader(path) as reader:
            for frame in reader:
                first = frame.time if first is None else first
                due = begun + float(frame.time - first)
                end = due + float(frame.duration)
                time.sleep(max(0.0, due - time.perf_counter()))
                now = time.perf_counter()
                if now - due < 1 / float(reader.info.rate) or now - looked > PATIENCE_S:
                    yield frame.image
                    looked = time.perf_counter()
        time.sleep(max(0.0, end - time.perf_counter()))
        begun = time.perf_counter()
