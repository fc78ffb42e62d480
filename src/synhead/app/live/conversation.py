"""One browser's session: a portrait first, then frames in and pictures out, the newest of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from io import BytesIO

from anyio import fail_after, move_on_after
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from synhead.app.live.answering import Answerer, Received, Refusal, Reply
from synhead.app.live.errors import LiveError
from synhead.app.live.latest import Relay
from synhead.app.live.limits import HEADER_BYTES, LiveLimits, Pace
from synhead.app.live.protocol import error_text, read_command, read_frame, read_hello
from synhead.app.live.session import LiveOptions, LiveSession, open_session
from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.data.image import decode_image
from synhead.inference.animator import Animator
from synhead.provenance.statement import Statement
from synhead.provenance.xmp import build_packet
from synhead.weights.errors import CheckpointError

_FULL = 1013  # "try again later"
_PARTING_S = 1.0


@dataclass(slots=True, kw_only=True)
class Studio:
    """What all sessions of a server share. ``turn``: held by the one that draws. ``open``: how many there are."""

    animator_provider: Callable[[], Animator]
    limits: LiveLimits
    statement: Statement
    note: str
    turn: AbstractContextManager[object]
    open: int = field(default=0, init=False)


async def converse(websocket: WebSocket, studio: Studio) -> None:
    """The whole session. Pages of other sites are turned away; errors are told before the socket closes."""
    if not _from_here(websocket, studio.limits):
        await websocket.close(1008)  # before it is accepted: HTTP 403
        return
    await websocket.accept()
    try:
        await _admitted(websocket, studio)
    except WebSocketDisconnect:
        pass
    except LiveError as error:
        await _part(websocket, error)
    except Exception:
        await _part(websocket, LiveError("fault", "the server failed", "its log says why; start again", closing=1011))
        raise


async def _admitted(websocket: WebSocket, studio: Studio) -> None:
    if studio.open >= studio.limits.sessions:
        raise LiveError("busy", "all places are taken", "try again when another session has ended", closing=_FULL)
    studio.open += 1
    try:
        with ExitStack() as stack:
            session = await _begin(websocket, studio, stack)
            await _exchange(websocket, studio, session, stack)
    finally:
        studio.open -= 1


async def _begin(websocket: WebSocket, studio: Studio, stack: ExitStack) -> LiveSession:
    """The session, once the portrait is there; tells the page that frames may come."""
    limits = studio.limits
    message = await _received(websocket, limits.hello_s, limits.portrait_bytes + HEADER_BYTES)
    if isinstance(message, str):
        raise LiveError("bad_message", "the first message is text", "send options and portrait first")
    options, portrait = read_hello(message)
    session = await asyncio.to_thread(_open, studio, options, portrait, stack)
    ready = {
        "type": "ready",
        "size": session.size,
        "faces": session.finds_faces,
        "note": studio.note,
        "limits": {"frame_bytes": limits.frame_bytes, "frame_pixels": limits.frame_pixels, "frames_s": limits.frames_s},
    }
    await websocket.send_json(ready)
    return session


def _open(studio: Studio, options: LiveOptions, portrait: bytes, stack: ExitStack) -> LiveSession:
    try:
        picture = decode_image(BytesIO(portrait), "the portrait", max_pixels=studio.limits.portrait_pixels)
    except MediaError as error:
        raise LiveError.of("bad_portrait", error) from error
    try:
        animator = studio.animator_provider()
    except (CheckpointError, ConfigError) as error:
        raise LiveError.of("no_model", error) from error
    return open_session(animator, picture, options, stack, turn=studio.turn)


async def _exchange(websocket: WebSocket, studio: Studio, session: LiveSession, stack: ExitStack) -> None:
    """Receives and sends until one of the two ends; the drawing thread ends before control returns."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Event()
    answerer = Answerer(session, mark=build_packet(studio.statement, slot=0), max_pixels=studio.limits.frame_pixels)
    relay = Relay(answerer, told=lambda: _notify(loop, waiting))
    stack.callback(relay.close)  # before the detector that it uses, also where a server that stops cancels all this
    tasks = [
        asyncio.create_task(_receive(websocket, studio.limits, session, relay)),
        asyncio.create_task(_send(websocket, studio.limits, relay, waiting)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.to_thread(relay.close)


def _notify(loop: asyncio.AbstractEventLoop, waiting: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the server is stopping
        loop.call_soon_threadsafe(waiting.set)


async def _receive(
    websocket: WebSocket, limits: LiveLimits, session: LiveSession, relay: Relay[Received, Reply | Refusal]
) -> None:
    pace = Pace(limits.frames_s)
    while True:
        message = await _received(websocket, limits.idle_s, limits.frame_bytes + HEADER_BYTES)
        now = time.perf_counter()
        if not pace.allows(now):
            raise LiveError(
                "too_fast", f"more than {limits.frames_s:g} messages a second came", "wait for replies before sending"
            )
        if isinstance(message, str):
            read_command(message)
            session.recentre()
        else:
            relay.offer(Received(read_frame(message), now))


async def _send(
    websocket: WebSocket, limits: LiveLimits, relay: Relay[Received, Reply | Refusal], waiting: asyncio.Event
) -> None:
    while True:
        await waiting.wait()
        waiting.clear()
        reply = relay.poll()
        try:
            with fail_after(limits.idle_s):
                if isinstance(reply, Refusal):
                    await websocket.send_text(error_text(reply.error, reply.number))
                elif reply is not None:
                    await websocket.send_bytes(reply.pack(relay.dropped))
        except TimeoutError as error:
            raise LiveError("idle", "replies were not taken", "start again on a faster connection") from error


async def _received(websocket: WebSocket, seconds: float, most_bytes: int) -> bytes | str:
    """The next message. Raises LiveError if none comes in time or it is too large, WebSocketDisconnect."""
    try:
        with fail_after(seconds):  # before Python 3.12 asyncio.wait_for may swallow a cancellation
            message = await websocket.receive()
    except TimeoutError as error:
        raise LiveError("idle", f"nothing came for {seconds:g} seconds", "start again") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    content: bytes | str = message.get("bytes") or message.get("text") or b""
    if len(content) > most_bytes:
        size, most = len(content) / 2**20, most_bytes / 2**20
        raise LiveError(
            "too_large",
            f"a message has {size:.1f} MiB, more than {most:.1f}",
            "send smaller pictures",
            closing=1009,
        )
    return content


async def _part(websocket: WebSocket, error: LiveError) -> None:
    """Tells why, and closes; whoever has gone already is not told."""
    with suppress(WebSocketDisconnect, RuntimeError), move_on_after(_PARTING_S):
        if websocket.application_state is WebSocketState.CONNECTED:
            await websocket.send_text(error_text(error))
            await websocket.close(error.closing)


def _from_here(websocket: WebSocket, limits: LiveLimits) -> bool:
    """Whether the page that connects is this server's own, or a listed one; programs have no origin, and may."""
    origin = websocket.headers.get("origin")
    if origin is None or origin in limits.origins:
        return True
    return origin.partition("://")[2] == websocket.headers.get("host")
