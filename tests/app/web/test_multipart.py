from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from synhead.app.web.limits import Limits
from synhead.app.web.multipart import Part, read_form
from synhead.app.web.problems import RefusedError
from tests.app.web.hostile import BOUNDARY, form


class Request:
    """What is used of one; the body comes in pieces, with pauses if wanted."""

    def __init__(self, body: bytes, piece: int, pause: float = 0.0, **headers: str) -> None:
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        self.headers = Headers({"content-type": kind, **headers})
        self._body, self._piece, self._pause = body, piece, pause

    async def stream(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), self._piece):
            await asyncio.sleep(self._pause)
            yield self._body[start : start + self._piece]


CONTENT = b"--frontier\r\n\r\n--frontier-\r\n--fron\r\n\0\xff" * 40
FILES = {"portrait": (b"p.jpg", CONTENT), "options": (b"", b"{}")}


def read(folder: Path, request: Request, most: int = 10_000, **limits: float) -> frozenset[str]:
    parts = {name: Part(folder / name, most) for name in ("portrait", "options", "driving")}
    return asyncio.run(read_form(request, parts, Limits(**limits)))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64, 100_000])
def test_cut_anywhere_the_content_is_the_same(tmp_path: Path, piece: int) -> None:
    safe = {**FILES, "portrait": (b"p.jpg", CONTENT.replace(b"--frontier", b"--frontie"))}
    assert read(tmp_path, Request(form(safe), piece)) == {"portrait", "options"}
    assert (tmp_path / "portrait").read_bytes() == safe["portrait"][1]
    assert (tmp_path / "options").read_bytes() == b"{}"
    assert not (tmp_path / "driving").exists()


@pytest.mark.parametrize("piece", [1, 64, 100_000])
def test_not_a_byte_more_than_allowed(tmp_path: Path, piece: int) -> None:
    body = form({"portrait": (b"p", bytes(100))})
    (tmp_path / "fits").mkdir()
    assert read(tmp_path / "fits", Request(body, piece), most=100) == {"portrait"}
    with pytest.raises(RefusedError, match="at most") as refused:
        read(tmp_path, Request(body, piece), most=99)
    assert refused.value.status == 413
    assert (tmp_path / "portrait").stat().st_size <= 99


def test_an_announced_length_is_enough_to_refuse(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="form"):
        read(tmp_path, Request(b"", 1, **{"content-length": "9" * 30}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limits", [{"idle_seconds": 0.05}, {"upload_seconds": 0.1}])
def test_slow_senders_are_sent_away(tmp_path: Path, limits: dict[str, float]) -> None:
    with pytest.raises(RefusedError) as refused:
        read(tmp_path, Request(form(FILES)[:60], 1, pause=0.06), **limits)
    assert refused.value.status == 408
