"""The live page and its WebSocket, to be included by any FastAPI application."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, WebSocket

from synhead.app.heads import sender
from synhead.app.live.conversation import Studio, converse
from synhead.app.live.limits import LiveLimits
from synhead.inference.animator import Animator
from synhead.provenance.statement import Statement

PAGE, SOCKET = "/live/", "/api/v1/live"
PAGE_FOLDER = Path(__file__).parent / "page"
_FILES = {"": "live.html", "live.css": "live.css", "live.js": "live.js"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """What is said of the model: in the marks of pictures, and ``note`` on the page, such as that it is untrained."""

    statement: Statement = field(default_factory=Statement)
    note: str = ""


def live_router(
    animator_provider: Callable[[], Animator], limits: LiveLimits | None = None, about: LiveModel | None = None
) -> APIRouter:
    """The page at ``/live/`` and the WebSocket ``/api/v1/live``.

    ``animator_provider`` is called for each session, in a thread, and may load the model then; its Animator is copied,
    so that it may be shared. Sessions of one router draw one frame at a time.
    """
    about = about or LiveModel()
    studio = Studio(
        animator_provider=animator_provider,
        limits=limits or LiveLimits(),
        statement=about.statement,
        note=about.note,
        turn=threading.Lock(),
    )
    router = APIRouter()
    for path, name in _FILES.items():
        router.add_api_route(
            PAGE + path, sender(PAGE_FOLDER / name, _HEADERS), include_in_schema=False, response_model=None
        )

    @router.websocket(SOCKET)
    async def live(websocket: WebSocket) -> None:
        await converse(websocket, studio)

    return router
