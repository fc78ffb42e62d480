"""Who may come in: known host names, pages of our own, and whoever has the password if there is one."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from synhead.app.hosts import host_name
from synhead.app.web.problems import RefusedError

COOKIE = "synhead_session"
SESSION_S = 12 * 3600.0
MAX_SESSIONS = 1000
ATTEMPTS, ATTEMPTS_S = 10, 60.0
"""Wrong passwords taken in so many seconds, from all clients together."""
OPEN_PATHS = frozenset({"/login", "/login.js", "/web.css", "/api/v1/login", "/api/v1/health"})
"""What is shown without the password."""

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Sessions:
    """Checks the password and remembers who gave it. May be called from any thread."""

    def __init__(self, password: str) -> None:
        self._password = password.encode()
        self._ends: dict[str, float] = {}
        self._failures: deque[float] = deque()
        self._lock = threading.Lock()

    def check(self, password: str) -> None:
        """Raises RefusedError if it is wrong, or too many wrong ones came of late."""
        with self._lock:
            now = time.monotonic()
            while self._failures and now - self._failures[0] > ATTEMPTS_S:
                self._failures.popleft()
            if len(self._failures) >= ATTEMPTS:
                raise RefusedError(429, "too many wrong passwords; wait a minute", retry_after=round(ATTEMPTS_S))
            if not hmac.compare_digest(password.encode("utf-8", "replace"), self._password):
                self._failures.append(now)
                raise RefusedError(401, "the password is wrong")

    def begin(self, password: str) -> str:
        """A session's token. Raises as :meth:`check` does."""
        self.check(password)
        token = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._ends) >= MAX_SESSIONS:
                del self._ends[next(iter(self._ends))]
            self._ends[token] = time.monotonic() + SESSION_S
        return token

    def end(self, token: str) -> None:
        """The token is worth nothing any more."""
        with self._lock:
            self._ends.pop(token, None)

    def knows(self, token: str) -> bool:
        """Whether it is a token of a session that lasts."""
        with self._lock:
            return self._ends.get(token, 0.0) > time.monotonic()


@dataclass
class Gate:
    """ASGI middleware: asks every request and web socket what this module says, and sends headers that keep scripts,
    frames and other sites out. ``hosts``: names by which the server may be asked for, ``*`` for any (an answer to
    DNS rebinding). ``sessions``: None where there is no password.
    """

    app: ASGIApp
    hosts: tuple[str, ...]
    sessions: Sessions | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
        except RefusedError as refusal:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail[:100]})
            elif refusal.status == 401 and not scope["path"].startswith("/api/") and scope["method"] == "GET":
                await RedirectResponse("/login", 303)(scope, receive, _guarded(send))
            else:
                await refusal.response()(scope, receive, _guarded(send))
            return
        await self.app(scope, receive, _guarded(send) if scope["type"] == "http" else send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "").lower()
        if "*" not in self.hosts and host_name(host) not in self.hosts:
            raise RefusedError(403, "this host name is not served here; see --allow-host")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if changes and (
            (origin is not None and origin.lower().partition("://")[2] != host)
            or (site is not None and site not in ("same-origin", "none"))
        ):
            raise RefusedError(403, "this comes from another site; only pages of this server may do it")
        if self.sessions is None or scope["path"] in OPEN_PATHS:
            return
        if (authorization := headers.get("authorization")) is not None:
            self.sessions.check(_secret(authorization))
        elif not self.sessions.knows(cookie_parser(headers.get("cookie", "")).get(COOKIE, "")):
            raise RefusedError(
                401, "the password is needed; send it as Basic or Bearer authorization, or sign in on the page"
            )
        elif changes and origin is None and site is None:
            raise RefusedError(
                403, "a session's requests must say where they come from; programs send authorization instead"
            )


def _guarded(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return with_headers


def _secret(authorization: str) -> str:
    """The password of a Bearer or Basic header; of Basic any user name will do."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        return base64.b64decode(rest, validate=True).decode().partition(":")[2] if scheme.lower() == "basic" else ""
    except ValueError:
        return ""
