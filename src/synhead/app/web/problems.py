"""What is refused, why, and what to do about it: one line each, as JSON."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from synhead.app.errors import explain
from synhead.app.heads import StoredFile

FAULT = "a fault of the program; the server's log has more, please report it"
MAX_LISTED = 5
FULL = (errno.ENOSPC, errno.EDQUOT)
_BOX = ("--crop LEFT,TOP,RIGHT,BOTTOM in pixels", "crop box with box [left, top, right, bottom] in pixels")
_WORDS = {
    400: "the request is not understood; send it as /api/v1/openapi.json describes it",
    401: "the password is needed; send it as Basic or Bearer authorization, or sign in on the page",
    403: "refused",
    404: "nothing is here; /api/v1/openapi.json lists what is, and jobs end some time after they are done",
    405: "this address takes other methods; see /api/v1/openapi.json",
    408: "the upload took too long; try again over a faster connection, or send a smaller file",
    409: "the job is not done; ask for its state first",
    413: "too large; make the file smaller",
    415: "the body must be multipart/form-data",
    416: "there is no such range in the file; leave the Range header out",
    422: "something that was sent cannot be used; the message says what",
    429: "too many attempts; wait as Retry-After says",
    503: "the server is busy; wait as Retry-After says",
    507: "the server's disk is full; try again later, or have space made on it",
}


class Problem(BaseModel):
    """Why something was refused, and what to do about it."""

    detail: str = Field(examples=["the portrait is no picture; give a JPEG, PNG or WebP file"])


class RefusedError(Exception):
    """A request that is refused: the status and one line with the remedy. ``retry_after``: seconds."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after

    def response(self) -> JSONResponse:
        """As it is sent."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="synhead"'  # Basic is taken too, but would open a dialog
        return JSONResponse({"detail": self.detail}, status_code=self.status, headers=headers)


class RangedFile(StoredFile):
    """A file that may be removed at any time. Ranges that cannot be served, and a file that is gone, are told as a
    Problem: of the one Starlette tells in plain words, of the other with a fault."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        start: Message | None = None
        sent = False

        async def looked_at(message: Message) -> None:
            nonlocal start, sent
            if message["type"] == "http.response.start":
                start = message  # sent with the first bytes: the file is open then, and may be removed
            elif start is not None and start["status"] < 400:
                if not sent:
                    sent = True
                    await send(start)
                await send(message)

        try:
            await super().__call__(scope, receive, looked_at)
        except (FileNotFoundError, RuntimeError):
            if sent or Path(self.path).exists():
                raise
            await _told(404)(scope, receive, send)
            return
        if start is not None and start["status"] >= 400:
            answer = _told(416, start["status"])
            answer.raw_headers += [pair for pair in start["headers"] if pair[0] == b"content-range"]
            await answer(scope, receive, send)


def _told(words: int, status: int | None = None) -> JSONResponse:
    return JSONResponse({"detail": _WORDS[words]}, status_code=status or words)


@contextmanager
def room() -> Iterator[None]:
    """A full disk, while something that was sent is written, is told as such: raises RefusedError."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise RefusedError(507, _WORDS[507]) from error


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its description."""
    return {status: {"model": Problem, "description": _WORDS[status]} for status in statuses}


def add_handlers(web: FastAPI) -> None:
    """Every error of ``web`` is told as a Problem."""

    @web.exception_handler(RefusedError)
    async def refuse(request: Request, error: RefusedError) -> JSONResponse:
        del request
        return error.response()

    @web.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        del request
        return JSONResponse({"detail": listed(error.errors())}, status_code=422)

    @web.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        del request
        return JSONResponse(
            {"detail": _WORDS.get(error.status_code, error.detail)},
            status_code=error.status_code,
            headers=None if error.headers is None else dict(error.headers),
        )

    @web.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        del request, error  # the server logs it
        return JSONResponse({"detail": FAULT}, status_code=500)


def listed(errors: Any) -> str:  # noqa: ANN401 - pydantic's own records
    """What pydantic found wrong, in one line."""
    found = [f"{'.'.join(map(str, each['loc'])) or 'options'}: {_said(each)}" for each in errors[:MAX_LISTED]]
    more = f"; and {len(errors) - MAX_LISTED} more" if len(errors) > MAX_LISTED else ""
    return "; ".join(found) + more


def _said(error: Any) -> str:  # noqa: ANN401 - as above
    if error["type"] == "string_pattern_mismatch":
        return "not one of the words, or characters, that are taken; see /api/v1/openapi.json"
    return str(error["msg"])


def plain(error: Exception, folder: Path, templates: Path | None = None) -> str:
    """``error`` in words for whoever uses the API: options by their names there, and no paths of this machine, which
    would begin with the job's folder or that of ``templates``."""
    if isinstance(error, RefusedError):
        return error.detail
    if isinstance(error, ValidationError):
        return listed(error.errors(include_url=False, include_input=False, include_context=False))
    told = explain(error) or FAULT
    told = told.replace(f"{folder}/", "").replace(str(folder), "the job's folder")
    if templates is not None:
        told = told.replace(f"{templates}/", "")
    return renamed(told)


def renamed(text: str) -> str:
    """Words written for the command line, with its options called as the API calls them."""
    text = text.replace(*_BOX)
    return re.sub(r"--([a-z]+(?:-[a-z]+)*)", lambda found: found[1].replace("-", "_"), text)
