"""HEAD wherever GET is answered: the same status and headers, and no body."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi.responses import FileResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Heads", "StoredFile"]

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
    """A file, which is not read where only its headers are asked for."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await super().__call__({**scope, "method": "HEAD"} if scope.get(_MARK) else scope, receive, send)
