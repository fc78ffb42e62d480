"""What servers take into memory: bodies of requests that are read whole, such as JSON."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 65_536


@dataclass
class SmallBodies:
    """ASGI middleware: a body of more than ``most`` bytes is answered with 413 before it fills the memory.

    ``but``: paths whose bodies are read, and bounded, as they come.
    """

    app: ASGIApp
    but: Collection[str] = ()
    most: int = MOST_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in self.but:
            await self.app(scope, receive, send)
            return
        left = self.most

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413)
            return message

        await self.app(scope, counted, send)
