from __future__ import annotations

import time

import numpy as np
import pytest

from synhead.app.live.answering import Answerer, Received, Refusal, Reply, read_jpeg
from synhead.app.live.errors import LiveError
from synhead.app.live.protocol import FrameMessage, unpack
from synhead.app.live.session import LiveOptions, LiveSession
from synhead.inference.animator import Animator
from tests.app.live.conftest import SIZE, decoded, driver, empty, jpeg
from tests.faces.pictures import RedDetector, waves
from tests.inference.conftest import blobs

MOST = 10**6


@pytest.fixture
def answerer(animator: Animator) -> Answerer:
    session = LiveSession(animator, blobs(0, SIZE), LiveOptions(crop="center"), RedDetector())
    return Answerer(session, mark="<packet/>", max_pixels=MOST)


def received(content: bytes, number: int = 1) -> Received:
    return Received(FrameMessage(number, 2.5, content), time.perf_counter())


def test_a_frame_is_answered_with_its_time_and_the_time_of_stages(answerer: Answerer) -> None:
    reply = answerer(received(jpeg(driver()), 7))
    assert isinstance(reply, Reply)
    header, picture = unpack(reply.pack(dropped=4))
    assert (header["number"], header["time"], header["face"], header["dropped"]) == (7, 2.5, True, 4)
    assert list(header["ms"]) == ["wait", "decode", "faces", "turn", "keypoints", "draw", "encode"]
    assert min(header["ms"][name] for name in ("decode", "faces", "draw", "encode")) > 0
    assert np.abs(decoded(picture)[:32].astype(int) - blobs(0, SIZE)[:32]).mean() < 5
    assert b"<packet/>" in picture, "each picture says that it is generated"


def test_a_picture_that_is_held_is_not_encoded_again(answerer: Answerer) -> None:
    shown = answerer(received(jpeg(driver())))
    held = [answerer(received(jpeg(empty()))) for _ in range(4)][-1]
    assert not held.face
    assert held.jpeg is shown.jpeg


BROKEN = {
    "nothing": b"",
    "words": b"no picture at all",
    "half": jpeg(driver())[:600],
    "header only": jpeg(driver())[:20],
    "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    "tiny": jpeg(np.zeros((8, 300, 3), np.uint8)),
    "large": jpeg(np.zeros((1100, 1000, 3), np.uint8)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_frame_that_is_no_picture_is_refused_and_the_session_goes_on(answerer: Answerer, content: bytes) -> None:
    refusal = answerer(received(content, 3))
    assert isinstance(refusal, Refusal)
    assert refusal.number == 3
    assert refusal.error.remedy.startswith("send ")
    assert isinstance(answerer(received(jpeg(driver()))), Reply)


def test_a_header_that_claims_a_giant_picture_costs_nothing() -> None:
    content = bytearray(jpeg(waves(64, 64)))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = b"\xff\xff\xff\xff"
    start = time.perf_counter()
    with pytest.raises(LiveError, match="a frame"):
        read_jpeg(bytes(content), MOST)
    content[place : place + 4] = b"\x20\x00\x20\x00"
    with pytest.raises(LiveError, match="8192 x 8192"):
        read_jpeg(bytes(content), MOST)
    assert time.perf_counter() - start < 0.5


def test_large_frames_are_reduced_as_they_are_decoded() -> None:
    small, large = read_jpeg(jpeg(waves(640, 480)), MOST * 10), read_jpeg(jpeg(waves(2560, 1920)), MOST * 10)
    assert small.shape == (480, 640, 3)
    assert large.shape == (960, 1280, 3)
    grey = jpeg(waves(64, 64)[..., 0])
    assert read_jpeg(grey, MOST).shape == (64, 64, 3)
