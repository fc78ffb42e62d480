from __future__ import annotations

import json
import struct

import pytest

from synhead.app.live.errors import LiveError
from synhead.app.live.protocol import error_text, pack, read_command, read_frame, read_hello, unpack
from synhead.app.live.session import LiveOptions


def test_what_is_packed_comes_out() -> None:
    assert unpack(pack({"number": 3, "words": "ä"}, b"\xff\xd8")) == ({"number": 3, "words": "ä"}, b"\xff\xd8")
    frame = read_frame(pack({"number": 3, "time": 12.25}, b"picture"))
    assert (frame.number, frame.time, frame.jpeg) == (3, 12.25, b"picture")
    options, portrait = read_hello(pack({"crop": "center", "multiplier": 2}, b"portrait"))
    assert options == LiveOptions(crop="center", multiplier=2.0)
    assert portrait == b"portrait"
    assert read_command('{"command": "recentre"}') == "recentre"


def raw(header: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(header) if length is None else length) + header


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0",
        raw(b"{}", 3),
        raw(b"{}", 2**32 - 1),
        raw(b"[]"),
        raw(b"{"),
        raw(b"\xff\xfe"),
        raw(b"[" * 4000),
        raw(b" " * 5000),
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(LiveError) as caught:
        unpack(message)
    assert caught.value.code == "bad_message"


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"number": 1},
        {"number": "1", "time": 0},
        {"number": -1, "time": 0},
        {"number": 2**60, "time": 0},
        {"number": True, "time": 0},
        {"number": 1, "time": "now"},
        {"number": 1, "time": float("nan")},
        {"number": 1, "time": float("inf")},
        {"number": 1, "time": 10**400},
        {"number": 1, "time": -(10**400)},
        {"number": 10**400, "time": 1},
        {"number": 1, "time": False},
    ],
)
def test_frames_have_a_number_and_a_time(header: dict[str, object]) -> None:
    with pytest.raises(LiveError, match="frame's"):
        read_frame(pack(header, b""))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"zoom": 2}, "zoom"),
        ({"crop": "all"}, "crop"),
        ({"multiplier": 100}, "multiplier"),
        ({"multiplier": float("nan")}, "multiplier"),
        ({"multiplier": 10**400}, "multiplier.*too large"),
        ({"smooth": -(10**400)}, "smooth.*too large"),
        ({"smooth": -1}, "smooth"),
        ({"label": "x" * 100}, "label"),
        ({"label": 5}, "label"),
    ],
)
def test_options_that_cannot_be_are_named(header: dict[str, object], words: str) -> None:
    with pytest.raises(LiveError, match=words) as caught:
        read_hello(pack(header, b""))
    assert caught.value.code == "bad_options"


def test_other_commands_are_refused() -> None:
    for text in ('{"command": "reboot"}', "{}", "5", "", "recentre", '{"command": ["x"]}'):
        with pytest.raises(LiveError):
            read_command(text)


def test_errors_name_a_remedy() -> None:
    told = json.loads(error_text(LiveError("busy", "no place", "wait")))
    assert told == {"type": "error", "code": "busy", "message": "no place", "remedy": "wait"}
    assert json.loads(error_text(LiveError("bad_frame", "a", "b"), 7))["number"] == 7
    found = LiveError.of("x", ValueError("it is broken; mend it; or not"))
    assert (found.message, found.remedy) == ("it is broken", "mend it; or not")
