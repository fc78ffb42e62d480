"""Live mode without a network: an engine that shifts pictures, and a driver that is a red rectangle."""

from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from synhead.app.models import untrained
from synhead.inference import footage
from synhead.inference.animator import Animator
from tests.faces.pictures import RedDetector, painted
from tests.inference.engine_double import ShiftEngine

SIZE = 64


class HeldEngine(ShiftEngine):
    """Draws one picture each time it is let. ``begun``: released whenever drawing begins."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.let, self.begun, self.drawn = threading.Semaphore(0), threading.Semaphore(0), 0

    def render(self, source, driving):
        self.begun.release()
        assert self.let.acquire(timeout=20)
        self.drawn += 1
        return super().render(source, driving)


@pytest.fixture
def animator() -> Animator:
    return Animator(untrained("tiny"), engine=ShiftEngine(SIZE))


@pytest.fixture
def held() -> tuple[Animator, HeldEngine]:
    engine = HeldEngine()
    return Animator(untrained("tiny"), engine=engine), engine


@pytest.fixture(autouse=True)
def _red_faces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are red rectangles, unless a test is marked otherwise by taking ``real_faces``."""
    if "real_faces" not in request.fixturenames:
        monkeypatch.setattr(footage, "open_detector", RedDetector)


@pytest.fixture
def real_faces() -> None:
    pytest.importorskip("mediapipe")


def driver(right: int = 0, *, width: int = 160, height: int = 120) -> np.ndarray:
    """A face whose square lies in the picture, with something dark below it that moves."""
    picture = painted(width, height, (60, 40, 100, 90))
    picture[92:110, 65 + 2 * right : 80 + 2 * right] = 0
    return picture


def empty(width: int = 160, height: int = 120) -> np.ndarray:
    return painted(width, height)


def jpeg(picture: np.ndarray, **options: object) -> bytes:
    content = BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=95, subsampling=0, **options)
    return content.getvalue()


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"))
