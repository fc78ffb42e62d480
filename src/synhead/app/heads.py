"""Files as answers, and HEAD wherever GET is answered: the same status and headers, and no body."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread
from fastapi import Response
from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MARK = "synhead.head"


@dataclass
class Heads:
    """ASGI middleware, the outermost: FastAPI's routes of GET know no HEAD, so they are asked with GET."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self.app({**scope, "method": "GET", _MARK: True}, receive, without_body)


class StoredFile(FileResponse):
    """A file, which is not read where only its headers are asked for, nor where the browser has it already (304)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        known = Headers(scope=scope).get("if-none-match")
        if known is not None and await self._is_one_of(known):
            headers = {name: self.headers[name] for name in ("etag", "cache-control") if name in self.headers}
            await Response(status_code=304, headers=headers)(scope, receive, send)
            return
        await super().__call__({**scope, "method": "HEAD"} if scope.get(_MARK) else scope, receive, send)

    async def _is_one_of(self, tags: str) -> bool:
        try:
            self.set_stat_headers(await to_thread.run_sync(os.stat, self.path))
        except FileNotFoundError:
            return False
        listed = [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        return self.headers["etag"] in listed or "*" in listed


def sender(path: Path, headers: Mapping[str, str]) -> Callable[[], Response]:
    """A handler that sends a file of ours. It has no parameters: the browser has no say in which file it gets."""

    def send() -> Response:
        return FileResponse(path, headers=headers)

    return send
