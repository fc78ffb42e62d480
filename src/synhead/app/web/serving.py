"""The server: loads the model once, listens, says where, and ends cleanly on Ctrl-C."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import APIRouter

from synhead.app.console import remark, say
from synhead.app.hosts import LOCAL, LOCAL_HOSTS, address
from synhead.app.listening import listen, serve_until_stopped
from synhead.app.live.limits import LiveLimits
from synhead.app.web.api import Identity
from synhead.app.web.application import web_application
from synhead.app.web.desk import Desk
from synhead.app.web.limits import Limits
from synhead.app.web.security import Sessions
from synhead.app.web.service import Service
from synhead.app.web.templates import gather
from synhead.app.web.work import runner
from synhead.app.web.workspace import open_workspace
from synhead.config import ConfigError
from synhead.inference.animator import Animator
from synhead.provenance.statement import Statement

GOODBYE_S = 3
"""Seconds that open connections are given when the server stops."""
CONNECTIONS = 256
HOST_NAME = re.compile(r"\*|\[[0-9A-Fa-f:.]+\]|[^\s/:]+")
"""As it stands in requests, without a port; ``*`` is any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What runs. ``trained``: whether its pictures will be faces."""

    animator: Animator
    statement: Statement
    trained: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """``hosts``: further names by which the server may be asked for. ``password``: None for none."""

    host: str = "127.0.0.1"
    port: int = 8766
    hosts: tuple[str, ...] = ()
    password: str | None = None

    def __post_init__(self) -> None:
        wrong = next((name for name in self.hosts if not HOST_NAME.fullmatch(name)), None)
        if wrong is not None:  # no request has such a host
            raise ConfigError(
                f"{wrong!r} is no host name; give --allow-host one without scheme, port and path, as portraits.example"
            )


def serve_web(
    model: Model,
    doors: Doors,
    limits: Limits,
    *,
    templates: Path | None = None,
    folder: Path | None = None,
    routers: Sequence[APIRouter] = (),
) -> None:
    """Serve until Ctrl-C or SIGTERM; then the running job is cancelled and all files of jobs are removed.

    ``templates``: folder of motions to pick from. ``folder``: where those of jobs are made. ``routers``: further ones
    (live). Raises ConfigError if the port is taken or a folder cannot be used.
    """
    offers, left_out = ({}, ()) if templates is None else gather(templates, model.animator.fingerprint, limits)
    for line in left_out:
        remark(f"note: left out of the templates: {line}", style="yellow")
    sessions = None if doors.password is None else Sessions(doors.password)
    with ExitStack() as stack:
        listener = stack.enter_context(listen(doors.host, doors.port))
        workspace = stack.enter_context(open_workspace(folder))
        service = stack.enter_context(Service(runner(model.animator, model.statement), workspace, limits))
        desk = Desk(service, offers, model.animator.options.batch_size)
        identity = Identity(
            model=model.statement.model, trained=model.trained, live=bool(routers), locked=sessions is not None
        )
        web = web_application(desk, identity, hosts=_names(doors), sessions=sessions, routers=routers)
        _tell(doors, listener.getsockname()[1])
        config = uvicorn.Config(
            web,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            ws_max_size=LiveLimits().message_bytes,
            ws_per_message_deflate=False,  # JPEGs do not get smaller
            timeout_graceful_shutdown=GOODBYE_S,
        )
        signal.signal(signal.SIGTERM, _stop)
        serve_until_stopped(uvicorn.Server(config), listener)


def _names(doors: Doors) -> tuple[str, ...]:
    """Names that are served: on this machine alone its own, elsewhere those given, or any if none is."""
    given = tuple(name.lower() for name in doors.hosts)
    if doors.host in LOCAL:
        return (*LOCAL_HOSTS, *given)
    return (*LOCAL_HOSTS, *given) if given else ("*",)


def _tell(doors: Doors, port: int) -> None:
    say(address(doors.host, port))
    if doors.host not in LOCAL:
        who = "everybody who has the password" if doors.password else "everybody who reaches this address"
        remark(f"note: {who} can use this server; there is no encryption", style="yellow")
    remark("animate only people who have agreed to it; stop with Ctrl-C, then all files of jobs are removed")


def _stop(number: int, frame: FrameType | None) -> None:
    """What uvicorn re-raises when it has stopped: so that the files are removed then, as for Ctrl-C."""
    del number, frame
    raise SystemExit(128 + signal.SIGTERM)
