"""One web application: the API, the page that is its client, and whatever routers are added."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import APIRouter, FastAPI

from synhead.app.bodies import SmallBodies
from synhead.app.heads import Heads
from synhead.app.hosts import LOCAL_HOSTS
from synhead.app.web.api import API, UPLOADS, Identity, api_router
from synhead.app.web.desk import Desk
from synhead.app.web.page import page_router
from synhead.app.web.problems import add_handlers
from synhead.app.web.security import Gate, Sessions
from synhead.config.version import version


def web_application(
    desk: Desk,
    identity: Identity,
    *,
    hosts: tuple[str, ...] = LOCAL_HOSTS,
    sessions: Sessions | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """``hosts`` and ``sessions``: see Gate. ``routers``: further ones, behind the same doors.

    When the application ends it closes the service.
    """

    @asynccontextmanager
    async def life(web: FastAPI) -> AsyncIterator[None]:
        del web
        yield
        await to_thread.run_sync(desk.service.close)

    web = FastAPI(
        title="Synhead",
        version=version(),
        description="Animate a portrait with the motion of a video. Animate only people who have agreed to it.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=life,
    )
    add_handlers(web)
    web.include_router(api_router(desk, identity))
    web.include_router(page_router(sessions))
    for router in routers:
        web.include_router(router)
    web.add_middleware(SmallBodies, but=UPLOADS)
    web.add_middleware(Gate, hosts=hosts, sessions=sessions)
    web.add_middleware(Heads)
    return web
