"""Messages of live mode: a JSON header, and a picture behind it. docs/live.md is their description."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from synhead.app.live.errors import LiveError
from synhead.app.live.limits import HEADER_BYTES
from synhead.app.live.session import LiveOptions
from synhead.config import ConfigError, from_json

_LENGTH = struct.Struct(">I")
_DESCRIBED = "docs/live.md describes the messages"


@dataclass(frozen=True, slots=True)
class FrameMessage:
    """``number`` grows from frame to frame; ``time`` is the client's own and comes back as it was."""

    number: int
    time: float
    jpeg: bytes


def pack(header: Mapping[str, object], picture: bytes) -> bytes:
    """Length of the header (4 bytes, big-endian), the header as JSON, the picture."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text + picture


def unpack(message: bytes) -> tuple[dict[str, object], bytes]:
    """Inverse of :func:`pack`. Raises LiveError."""
    if len(message) < _LENGTH.size:
        raise _bad("a message has less than 4 bytes")
    (length,) = _LENGTH.unpack_from(message)
    if length > min(HEADER_BYTES, len(message) - _LENGTH.size):
        raise _bad(f"a header of {length} bytes does not fit")
    header = _object(message[_LENGTH.size : _LENGTH.size + length])
    return header, message[_LENGTH.size + length :]


def read_hello(message: bytes) -> tuple[LiveOptions, bytes]:
    """The first message: options, and the portrait's file. Raises LiveError."""
    header, portrait = unpack(message)
    try:
        return from_json(LiveOptions, json.dumps(header)), portrait
    except ConfigError as error:
        raise LiveError("bad_options", str(error), _DESCRIBED) from error


def read_frame(message: bytes) -> FrameMessage:
    """Every later one. Raises LiveError."""
    header, jpeg = unpack(message)
    number, time = header.get("number"), header.get("time")
    if type(number) is not int or not 0 <= number < 2**53:
        raise _bad(f"the frame's number {str(number)[:40]!r} is no whole number from 0")
    seconds = _finite(time)
    if seconds is None:
        raise _bad(f"the frame's time {str(time)[:40]!r} is no number that a clock could show")
    return FrameMessage(number, seconds, jpeg)


def read_command(text: str) -> str:
    """What a message of text asks for. Raises LiveError."""
    command = _object(text.encode()[:HEADER_BYTES]).get("command")
    if command != "recentre":
        raise _bad(f"the command {str(command)[:40]!r} is unknown")
    return command


def error_text(error: LiveError, number: int | None = None) -> str:
    """As JSON. ``number``: of the frame that it is about, if the session goes on."""
    told = {"type": "error", "code": error.code, "message": error.message, "remedy": error.remedy}
    return json.dumps(told if number is None else {**told, "number": number})


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # whole numbers have no end in JSON
        return None
    return found if math.isfinite(found) else None


def _object(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad("a header is no JSON") from error
    if not isinstance(found, dict):
        raise _bad("a header is no JSON object")
    return found


def _bad(message: str) -> LiveError:
    return LiveError("bad_message", message, _DESCRIBED)
