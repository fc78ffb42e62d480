"""Names and addresses of the servers among the commands: by which they are asked for, and which they tell."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "::1")
"""Where to listen so that nobody but this machine comes."""
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""The same as names in requests."""


def address(host: str, port: int, path: str = "/") -> str:
    """What a browser is to open; IPv6 addresses stand in brackets there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


def served_hosts(host: str) -> tuple[str, ...]:
    """Names under which a server that listens there may be asked for: any, if others than this machine may come."""
    return LOCAL_HOSTS if host in LOCAL else ("*",)


def host_name(header: str) -> str:
    """A host header in small letters, without its port."""
    header = header.lower()
    return header.partition("]")[0] + "]" if header.startswith("[") else header.partition(":")[0]


@dataclass
class KnownHosts:
    """ASGI middleware: other ``hosts`` are refused (against DNS rebinding); ``*`` is any. Starlette's own knows no
    IPv6 addresses in some of its versions."""

    app: ASGIApp
    hosts: tuple[str, ...]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        asks = scope["type"] in ("http", "websocket")
        if asks and "*" not in self.hosts and host_name(Headers(scope=scope).get("host", "")) not in self.hosts:
            refusal = PlainTextResponse("this host name is not served here", 400)
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)
