"""The study's web application. A browser learns tokens and letters, never a system's name or a file's."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field

from synhead.app.bodies import SmallBodies
from synhead.app.heads import Heads, StoredFile, sender
from synhead.app.hosts import LOCAL_HOSTS, KnownHosts
from synhead.app.user_study.codes import new_code, respelled
from synhead.app.user_study.material import IMAGE_TYPES, MEDIA_TYPES, Material
from synhead.app.user_study.pages import QUESTIONS, Design
from synhead.app.user_study.storage import OpenPage, Storage, StudyError

log = logging.getLogger(__name__)

PAGE_FOLDER = Path(__file__).parent / "page"
_FILES = {"": "index.html", "study.css": "study.css", "study.js": "study.js"}
_KINDS = ("script-src", "style-src", "connect-src", "media-src")
_POLICY = "; ".join(["default-src 'none'", *(f"{kind} 'self'" for kind in _KINDS), "img-src 'self' data:"])
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_CODE = r"^[A-Za-z0-9_-]{3,40}$"
_TOKEN = r"^[A-Za-z0-9_-]{1,64}$"


@dataclass(frozen=True, slots=True)
class Study:
    """What is shown, how, and where the answers go."""

    material: Material
    design: Design
    storage: Storage


class Joining(BaseModel):
    """Who comes: a code of an earlier visit, or none for a new one.

    ``begin``: that the code, such as one agreed beforehand, need not be known: it may be anybody's first visit.
    """

    code: str | None = Field(default=None, pattern=_CODE)
    begin: bool = False


class Answer(BaseModel):
    """One page's answer: tokens by question, best first."""

    code: str = Field(pattern=_CODE)
    page: str = Field(pattern=_TOKEN)
    rankings: dict[str, list[str]]
    seconds: float = Field(ge=0, le=1e6)


def web_application(study: Study, hosts: tuple[str, ...] = LOCAL_HOSTS) -> FastAPI:
    """``hosts``: names under which the page may be asked for; others are refused (against DNS rebinding)."""
    web = FastAPI(title="Synhead study", docs_url=None, redoc_url=None, openapi_url=None)
    web.add_middleware(SmallBodies)
    web.add_middleware(KnownHosts, hosts=hosts)
    web.middleware("http")(_with_headers)
    web.add_middleware(Heads)
    web.add_exception_handler(StudyError, _refuse)
    web.add_exception_handler(RequestValidationError, _refuse_form)
    web.add_exception_handler(sqlite3.OperationalError, _not_kept)
    _add_page(web)
    _add_media(web, study)

    @web.post("/api/join")
    def join(joining: Joining) -> dict[str, object]:
        """A participant's code and next page."""
        code = new_code() if joining.code is None else _as_stored(study.storage, joining.code)
        if joining.code is not None and not joining.begin and not study.storage.knows(code):
            raise HTTPException(404, "This code is not known here. If you have been here before, look at it again.")
        study.storage.join(code, study.material.systems, study.material.examples, study.design)
        return _state(study, code)

    @web.post("/api/answer")
    def answer(given: Answer) -> dict[str, object]:
        """Keep an answer; the next page."""
        study.storage.answer(given.code, given.page, given.rankings, given.seconds)
        return _state(study, given.code)

    return web


def _as_stored(storage: Storage, typed: str) -> str:
    """Codes may be anything; what is known as it was typed is never taken for another."""
    spelled = respelled(typed)
    return spelled if spelled and not storage.knows(typed) and storage.knows(spelled) else typed


def _add_page(web: FastAPI) -> None:
    for path, name in _FILES.items():
        web.add_api_route(
            f"/{path}", sender(PAGE_FOLDER / name, {"Cache-Control": "no-cache"}), methods=["GET"], response_model=None
        )


def _add_media(web: FastAPI, study: Study) -> None:
    @web.get("/video/{token}")
    def video(token: str) -> FileResponse:
        """One system's video; ranges are served, so that it can be sought in."""
        found = study.storage.video(token)
        if found is None:
            raise HTTPException(404)
        system, example = found
        return _media(study.material.videos[system][example])

    @web.get("/reference/{token}")
    def reference(token: str) -> FileResponse:
        """What everybody may see of a page's example."""
        path = study.material.references.get(study.storage.example(token) or "")
        if path is None:
            raise HTTPException(404)
        return _media(path)


def _media(path: Path) -> FileResponse:
    kind = MEDIA_TYPES[path.suffix.lower()]
    return StoredFile(path, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})


def _state(study: Study, code: str) -> dict[str, object]:
    page = study.storage.next_page(code)
    return {"code": code, "questions": QUESTIONS, "page": None if page is None else _shown(study, page)}


def _shown(study: Study, page: OpenPage) -> dict[str, object]:
    path = study.material.references.get(page.example)
    kind = None if path is None else ("image" if path.suffix.lower() in IMAGE_TYPES else "video")
    return {
        "token": page.token,
        "number": page.number,
        "total": page.total,
        "reference": kind,
        "videos": [
            {"letter": letter, "token": item.token} for letter, item in zip(ascii_uppercase, page.items, strict=False)
        ],
    }


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers[name] = value
    return response


def _refuse(request: Request, error: Exception) -> JSONResponse:
    del request
    return JSONResponse({"detail": str(error)}, status_code=422)


def _refuse_form(request: Request, error: Exception) -> JSONResponse:
    """Without what was sent, which FastAPI would repeat: not all of it can be written as JSON again."""
    del request
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return JSONResponse({"detail": [{key: each[key] for key in ("type", "loc", "msg")} for each in found]}, 422)


def _not_kept(request: Request, error: Exception) -> JSONResponse:
    """Such as of a full disk; nothing of a change is kept then."""
    del request
    log.error("the file of answers cannot be written (%s); free space, participants can try again then", error)
    told = "this cannot be saved now (the disk may be full); tell whoever runs the study, and try again later"
    return JSONResponse({"detail": told}, 507)
