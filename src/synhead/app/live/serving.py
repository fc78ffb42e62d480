"""The live page alone: a small server for this machine, until Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from synhead.app.console import remark, say
from synhead.app.heads import Heads
from synhead.app.hosts import LOCAL, LOCAL_HOSTS, KnownHosts, address, served_hosts
from synhead.app.listening import listen, serve_until_stopped
from synhead.app.live.limits import LiveLimits
from synhead.app.live.router import PAGE, LiveModel, live_router
from synhead.config import ConfigError
from synhead.inference.animator import Animator


def live_application(
    animator_provider: Callable[[], Animator],
    limits: LiveLimits | None = None,
    about: LiveModel | None = None,
    hosts: tuple[str, ...] = LOCAL_HOSTS,
) -> FastAPI:
    """``hosts``: names under which the page may be asked for; others are refused (against DNS rebinding)."""
    web = FastAPI(title="Synhead live", docs_url=None, redoc_url=None, openapi_url=None)
    web.add_middleware(KnownHosts, hosts=hosts)
    web.add_middleware(Heads)
    web.include_router(live_router(animator_provider, limits, about))

    @web.get("/")
    def home() -> RedirectResponse:
        return RedirectResponse(PAGE.lstrip("/"))

    return web


def server_of(web: FastAPI, limits: LiveLimits) -> uvicorn.Server:
    """Not yet running. JPEGs are not compressed again, and messages too large are not even received."""
    config = uvicorn.Config(
        web,
        log_level="warning",
        access_log=False,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,
    )
    return uvicorn.Server(config)


def serve(animator: Animator, about: LiveModel, *, host: str, port: int) -> None:
    """Serve until Ctrl-C. Raises ConfigError if the port is taken, or websockets is missing."""
    if find_spec("websockets") is None:  # without it uvicorn serves the page, and refuses its connection
        raise ConfigError("the live page needs websockets; pip install 'synhead[live]'")
    limits = LiveLimits()
    hosts = served_hosts(host)
    with listen(host, port) as listener:
        say(address(host, listener.getsockname()[1], PAGE))
        if host not in LOCAL:
            remark(
                "note: everybody who reaches this address can use it; browsers give their camera only to pages over "
                "https, so put a proxy with a certificate before it",
                style="yellow",
            )
        remark("stop with Ctrl-C")
        serve_until_stopped(server_of(live_application(lambda: animator, limits, about, hosts), limits), listener)
