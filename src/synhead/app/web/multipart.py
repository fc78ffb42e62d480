"""Forms with files, read as they come: straight to the disk, never more than allowed, and not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from synhead.app.web.limits import Limits
from synhead.app.web.problems import RefusedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks
else:
    MultipartCallbacks = dict  # a name for the type checker only

HEADERS_BYTES = 65_536
"""Of all parts and boundaries together."""
DRAIN_BYTES, DRAIN_S = 64_000_000, 5.0
"""After a refusal: most clients read an answer only when they have sent what they have."""
BROKEN = "the form is broken or incomplete; send it again as multipart/form-data"


@dataclass(frozen=True, slots=True)
class Part:
    """A field: its file, and how many bytes it may have."""

    target: Path
    most: int


async def read_form(request: Request, parts: Mapping[str, Part], limits: Limits) -> frozenset[str]:
    """Write the fields of a form to their files; returns which came. Names of files are not looked at.

    Raises RefusedError for unknown and repeated fields, for what is too large, too slow, cut off or no form; OSError.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise RefusedError(415, f"send multipart/form-data with the fields {', '.join(parts)}")
    most = sum(part.most for part in parts.values()) + HEADERS_BYTES
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise RefusedError(413, _too_large("form", most))
    chunks = request.stream()
    try:
        with ExitStack() as stack:
            reader = _Reader(parts, stack)
            parser = MultipartParser(options[b"boundary"], reader.callbacks(), max_size=most + 1)
            async for chunk in _timely(chunks, limits):
                parser.write(chunk)
            parser.finalize()
        if not reader.complete:
            raise RefusedError(400, BROKEN)
    except FormParserError as error:
        await _drain(chunks)
        raise RefusedError(400, BROKEN) from error
    except (RefusedError, OSError):
        await _drain(chunks)
        raise
    except ClientDisconnect as error:
        raise RefusedError(400, BROKEN) from error
    return frozenset(reader.came)


class _Reader:
    """Takes the parser's events; one open file at a time."""

    def __init__(self, parts: Mapping[str, Part], stack: ExitStack) -> None:
        self.came: list[str] = []
        self.complete = False
        self._parts, self._stack = parts, stack
        self._field = self._value = b""
        self._name: str | None = None
        self._file: BinaryIO | None = None
        self._left = 0

    def callbacks(self) -> MultipartCallbacks:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._header,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self._close,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._name = None

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            name = parse_options_header(self._value)[1].get(b"name", b"")
            self._name = name.decode("utf-8", "replace")
        self._field = self._value = b""

    def _open(self) -> None:
        part = self._parts.get(self._name or "")
        if self._name is None or part is None:
            raise RefusedError(422, f"unknown field {(self._name or '')[:40]!r}; send {', '.join(self._parts)}")
        if self._name in self.came:
            raise RefusedError(422, f"{self._name} came twice; send one")
        self.came.append(self._name)
        self._file = self._stack.enter_context(part.target.open("xb"))
        self._left = part.most

    def _write(self, data: bytes, start: int, end: int) -> None:
        self._left -= end - start
        if self._left < 0:
            name = self.came[-1]
            raise RefusedError(413, _too_large(name, self._parts[name].most))
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _end(self) -> None:
        self.complete = True


async def _timely(chunks: AsyncIterator[bytes], limits: Limits) -> AsyncIterator[bytes]:
    """The same chunks; RefusedError after a long pause, or when it takes too long in all."""
    end = time.monotonic() + limits.upload_seconds
    while True:
        left = min(limits.idle_seconds, end - time.monotonic())
        try:
            yield await asyncio.wait_for(anext(chunks), max(0.0, left))
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise RefusedError(
                408, "the upload took too long; send a smaller file, or over a faster connection"
            ) from error


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read on for a moment, and drop what comes."""

    async def read() -> None:
        left = DRAIN_BYTES
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                return

    with suppress(TimeoutError, ClientDisconnect):
        await asyncio.wait_for(read(), DRAIN_S)


def _too_large(what: str, most: int) -> str:
    size = f"{most / 1e6:.4g} MB" if most >= 1e6 else f"{most / 1e3:.3g} kB"
    return f"{what}: {size} at most; send a smaller one"
