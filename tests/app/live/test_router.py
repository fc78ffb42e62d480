"""The WebSocket as programs see it, by an in-process client and by a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.sync.client import connect as connect_really

from synhead.app.listening import listen
from synhead.app.live.conversation import Studio, converse
from synhead.app.live.limits import LiveLimits
from synhead.app.live.protocol import pack, unpack
from synhead.app.live.router import PAGE, SOCKET, LiveModel
from synhead.app.live.serving import live_application, serve, server_of
from synhead.config import ConfigError
from synhead.inference.animator import Animator
from synhead.provenance.statement import Statement
from tests.app.live.conftest import SIZE, HeldEngine, decoded, driver, empty, jpeg
from tests.inference.conftest import blobs

HELLO = pack({"crop": "center"}, jpeg(blobs(0, SIZE)))
LOCAL = {"base_url": "http://127.0.0.1:8770"}


def client_of(animator: Animator, **limits: object):
    note = LiveModel(note="not trained")
    return TestClient(live_application(lambda: animator, LiveLimits(**limits), note), **LOCAL)


@pytest.fixture
def client(animator: Animator):
    return client_of(animator)


def connect(client, **headers: str):
    return client.websocket_connect(SOCKET, headers={"host": "127.0.0.1:8770", **headers})


def begin(socket, hello: bytes = HELLO) -> dict[str, object]:
    socket.send_bytes(hello)
    return json.loads(socket.receive_text())


def frame(number: int, picture: np.ndarray | bytes) -> bytes:
    return pack({"number": number, "time": number + 0.5}, picture if isinstance(picture, bytes) else jpeg(picture))


def ask(socket, number: int, picture: np.ndarray | bytes):
    socket.send_bytes(frame(number, picture))
    return unpack(socket.receive_bytes())


def refused(socket) -> tuple[dict[str, str], int]:
    """The error that is told, and the code with which the socket closes then."""
    told = json.loads(socket.receive_text())
    closing = socket.receive()
    assert closing["type"] == "websocket.close"
    assert told["type"] == "error"
    assert told["remedy"]
    return told, closing["code"]


def test_a_session_from_portrait_to_stop(client) -> None:
    with connect(client) as socket:
        ready = begin(socket)
        assert (ready["type"], ready["size"], ready["faces"], ready["note"]) == ("ready", SIZE, True, "not trained")
        header, first = ask(socket, 1, driver())
        assert (header["number"], header["time"], header["face"]) == (1, 1.5, True)
        assert decoded(first).shape == (SIZE, SIZE, 3)
        _, moved = ask(socket, 2, driver(8))
        assert np.abs(decoded(moved).astype(int) - decoded(first)).max() > 30
        socket.send_text('{"command": "recentre"}')
        _, again = ask(socket, 3, driver(8))
        assert np.abs(decoded(again).astype(int) - decoded(first)).max() < 12
        header, held = ask(socket, 4, empty())
        assert not header["face"]
        assert held == again


def test_a_bad_frame_is_told_and_the_session_goes_on(client) -> None:
    with connect(client) as socket:
        begin(socket)
        socket.send_bytes(frame(1, b"no picture"))
        told = json.loads(socket.receive_text())
        assert (told["code"], told["number"]) == ("bad_frame", 1)
        assert ask(socket, 2, driver())[0]["number"] == 2


HELLOS = {
    "bad_message": [b"", b"\0\0\0\x05{", pack({}, b"")[:3]],
    "bad_options": [
        pack({"zoom": 1}, jpeg(blobs(0))),
        pack({"crop": "center", "label": "so long " * 7}, jpeg(blobs(0))),
    ],
    "bad_portrait": [pack({}, b""), pack({}, b"GIF89a"), pack({}, jpeg(blobs(0))[:200]), pack({}, jpeg(blobs(0, 8)))],
    "no_face": [pack({}, jpeg(blobs(0)))],
}


@pytest.mark.parametrize(("code", "hello"), [(code, hello) for code, all_ in HELLOS.items() for hello in all_])
def test_what_cannot_begin_is_refused_with_a_remedy(client, code: str, hello: bytes) -> None:
    with connect(client) as socket:
        socket.send_bytes(hello)
        told, closing = refused(socket)
        assert (told["code"], closing) == (code, 1008)
        assert "/" not in told["message"], "no path of the server"


@pytest.mark.parametrize(
    ("limits", "messages", "code", "closing"),
    [
        ({"portrait_bytes": 100}, [HELLO * 10], "too_large", 1009),
        ({"portrait_pixels": 1000}, [HELLO], "bad_portrait", 1008),
        ({"frame_bytes": 2000}, [HELLO, frame(1, bytes(7000))], "too_large", 1009),
        ({"frames_s": 5.0}, [HELLO, *[frame(number, b"") for number in range(6)]], "too_fast", 1008),
        ({}, [HELLO, b"\0\0\0\0"], "bad_message", 1008),
        ({}, [HELLO, pack({"number": -1, "time": 0}, b"")], "bad_message", 1008),
        ({"hello_s": 0.05}, [], "idle", 1008),
        ({"idle_s": 0.05}, [HELLO], "idle", 1008),
    ],
)
def test_limits_end_the_session(animator: Animator, limits, messages, code: str, closing: int) -> None:
    client = client_of(animator, **limits)
    with connect(client) as socket:
        for message in messages:
            socket.send_bytes(message)
        texts = []
        while not texts or texts[-1]["type"] == "ready" or "number" in texts[-1]:
            texts.append(json.loads(socket.receive_text()))
        assert texts[-1]["code"] == code
        assert socket.receive()["code"] == closing


def test_places_are_limited_and_free_again(animator: Animator) -> None:
    client = client_of(animator, sessions=1)
    with connect(client) as first:
        begin(first)
        with connect(client) as second:
            told, closing = refused(second)
            assert (told["code"], closing) == ("busy", 1013)
        assert ask(first, 1, driver())[0]["face"]
    with connect(client) as third:
        assert begin(third)["type"] == "ready"


def test_pages_of_other_sites_are_turned_away(animator: Animator) -> None:
    client = client_of(animator, origins=("https://friend.example",))
    for origin in ("https://evil.example", "http://127.0.0.1:9999", "null", "http://["):
        with pytest.raises(WebSocketDisconnect), connect(client, origin=origin):
            pass
    for origin in ("http://127.0.0.1:8770", "https://friend.example"):
        with connect(client, origin=origin) as socket:
            assert begin(socket)["type"] == "ready"


def test_a_model_that_cannot_be_had_is_told(animator: Animator) -> None:
    def fail() -> Animator:
        raise ConfigError("there is no model; name one with --checkpoint")

    client = TestClient(live_application(fail), **LOCAL)
    with connect(client) as socket:
        socket.send_bytes(HELLO)
        told, _ = refused(socket)
    assert (told["code"], told["message"]) == ("no_model", "there is no model")


def test_a_fault_is_told_and_frees_the_place(animator: Animator, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(animator, sessions=1)

    def fail() -> None:
        with connect(client) as socket:
            begin(socket)
            socket.send_bytes(frame(1, driver()))
            told, closing = refused(socket)
            assert (told["code"], closing) == ("fault", 1011)
            assert "division" not in json.dumps(told)

    with monkeypatch.context() as patch:
        patch.setattr(animator.engine, "render", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fail()
    with connect(client) as socket:
        begin(socket)
        assert ask(socket, 1, driver())[0]["face"]


def test_the_page_and_nothing_else_is_served(client) -> None:
    page = client.get("/")
    assert page.url.path == PAGE
    assert "Live portrait" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["permissions-policy"].startswith("camera=(self)")
    for name in ("live.js", "live.css"):
        assert client.get(PAGE + name).status_code == 200
    for path in ("/live/router.py", "/live/..%2frouter.py", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 404
    assert client.head(PAGE).headers == client.get(PAGE).headers
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert "//" not in page.text.replace("<!doctype", "").replace("http://", "x"), "nothing from elsewhere"


def test_the_address_that_is_told_is_one_that_a_browser_takes(animator: Animator, monkeypatch, capsys) -> None:
    """As far as listening on ::1, which nobody else reaches."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    serve(animator, LiveModel(), host="::1", port=0)
    told = capsys.readouterr()
    assert told.out.startswith("http://[::1]:")
    assert "everybody" not in told.err


# ---- a real server, and a client that does not wait


@pytest.fixture
def server(held: tuple[Animator, HeldEngine]) -> Iterator[tuple[str, HeldEngine]]:
    animator, engine = held
    limits = LiveLimits(frames_s=10_000.0, idle_s=20.0)
    running = server_of(live_application(lambda: animator, limits), limits)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        while not running.started:
            time.sleep(0.02)
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}{SOCKET}", engine
        running.should_exit = True
        engine.let.release(1000)
        thread.join()


def test_a_client_that_floods_gets_the_newest_drawn_and_the_rest_dropped(server) -> None:
    address, engine = server
    with connect_really(address, compression=None) as socket:
        socket.send(HELLO)
        assert json.loads(socket.recv())["type"] == "ready"
        picture = jpeg(driver())
        socket.send(frame(1, picture))
        assert engine.begun.acquire(timeout=20)
        for number in range(2, 502):
            socket.send(frame(number, picture))
        socket.ping().wait(20)  # all have arrived
        time.sleep(0.1)
        engine.let.release(2)
        first, second = (unpack(socket.recv(timeout=20))[0] for _ in range(2))
        assert (first["number"], second["number"]) == (1, 501)
        assert second["dropped"] == 499
        assert engine.drawn == 2


class Stuck:
    """A client whose connection takes nothing until there is ``room``."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.room = asyncio.Event()
        self.replies: list[dict[str, object]] = []
        scope = {"type": "websocket", "headers": [(b"host", b"x")], "path": SOCKET, "query_string": b""}
        self.socket = WebSocket(scope, self.inbox.get, self._take)
        self.inbox.put_nowait({"type": "websocket.connect"})

    def say(self, content: bytes) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "bytes": content})

    async def _take(self, message: MutableMapping[str, Any]) -> None:
        if message.get("bytes"):
            await self.room.wait()
            self.replies.append(unpack(message["bytes"])[0])


def test_a_client_that_does_not_read_holds_one_reply(animator: Animator) -> None:
    async def talk() -> list[dict[str, object]]:
        client = Stuck()
        limits = LiveLimits(frames_s=1e6)
        studio = Studio(
            animator_provider=lambda: animator, limits=limits, statement=Statement(), note="", turn=threading.Lock()
        )
        talking = asyncio.create_task(converse(client.socket, studio))
        client.say(HELLO)
        for number in range(40):
            client.say(frame(number, driver()))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        client.room.set()
        await asyncio.sleep(0.3)
        client.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await talking
        assert studio.open == 0
        return client.replies

    replies = asyncio.run(talk())
    assert len(replies) == 2, "the one that was being sent, and the newest"
    assert replies[1]["number"] == 39
    assert replies[1]["dropped"] == 38
