"""The page's files, each under its own address, and signing in."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response

from synhead.app.heads import sender
from synhead.app.web.problems import RefusedError, answers
from synhead.app.web.schemas import Password
from synhead.app.web.security import COOKIE, SESSION_S, Sessions

FOLDER = Path(__file__).parent / "static"
FILES = {
    "": "index.html",
    "login": "login.html",
    "web.css": "web.css",
    "web.js": "web.js",
    "api.js": "api.js",
    "inputs.js": "inputs.js",
    "login.js": "login.js",
}


def page_router(sessions: Sessions | None) -> APIRouter:
    """``sessions``: None where there is no password."""
    router = APIRouter()
    for path, name in FILES.items():
        send = sender(FOLDER / name, {"Cache-Control": "no-cache"})
        router.add_api_route(f"/{path}", send, methods=["GET"], response_model=None, include_in_schema=False)

    @router.post("/api/v1/login", status_code=204, responses=answers(400, 401, 403, 404, 413, 422, 429), tags=["facts"])
    def login(given: Password, request: Request) -> Response:
        """Begin a session of the page; programs send the password as Basic or Bearer authorization instead."""
        if sessions is None:
            raise RefusedError(404, "this server has no password; nothing is to be done")
        answer = Response(status_code=204)
        answer.set_cookie(
            COOKIE,
            sessions.begin(given.password),
            max_age=round(SESSION_S),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @router.post("/api/v1/logout", status_code=204, responses=answers(401, 403, 429), tags=["facts"])
    def logout(request: Request) -> Response:
        """End the session."""
        if sessions is not None:
            sessions.end(request.cookies.get(COOKIE, ""))
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    return router
