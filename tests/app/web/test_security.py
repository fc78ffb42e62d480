from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from synhead.app.web.security import ATTEMPTS, COOKIE, Sessions
from tests.app.web.conftest import ADDRESS, Server

Serve = Callable[..., Server]
PASSWORD = "Schlüssel: 'grün'"
OWN = {"Origin": ADDRESS}


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


def bearer(password: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {password}".encode()}


@pytest.fixture
def locked(serve: Serve) -> Server:
    return serve(password=PASSWORD)


def test_without_the_password_nothing_but_the_way_in(locked: Server, media: Path) -> None:
    for path in ("/api/v1/options", "/api/v1/templates", "/api/v1/openapi.json", f"/api/v1/jobs/{'0' * 32}"):
        answer = locked.client.get(path)
        assert (answer.status_code, "password" in answer.json()["detail"]) == (401, True)
    assert locked.send(media).status_code == 401
    for path in ("/", "/web.js", "/nothing"):
        answer = locked.client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in ("/login", "/login.js", "/web.css", "/api/v1/health"):
        assert locked.client.get(path).status_code == 200


@pytest.mark.parametrize("header", [basic, bearer])
def test_programs_send_the_password(locked: Server, header) -> None:
    assert locked.client.get("/api/v1/options", headers=header(PASSWORD)).json()["locked"]
    wrong = locked.client.get("/api/v1/options", headers=header("Schlüssel"))
    assert (wrong.status_code, wrong.json()["detail"]) == (401, "the password is wrong")


@pytest.mark.parametrize("value", ["", "Basic", "Basic !!!", "Basic /////w==", "Bearer", "Digest x", "\x80"])
def test_odd_authorization_is_refused(locked: Server, value: str) -> None:
    answer = locked.client.get("/api/v1/options", headers={"Authorization": value.encode("latin-1")})
    assert answer.status_code == 401


def test_the_page_signs_in_and_out(locked: Server) -> None:
    client = locked.client
    assert client.post("/api/v1/login", json={"password": "wrong"}, headers=OWN).status_code == 401
    answer = client.post("/api/v1/login", json={"password": PASSWORD}, headers=OWN)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in (f"{COOKIE}=", "HttpOnly", "SameSite=strict", "Path=/"))
    assert PASSWORD not in cookie
    assert client.get("/api/v1/options").status_code == 200
    assert client.post("/api/v1/logout", headers=OWN).status_code == 204
    client.cookies.set(COOKIE, cookie.split("=")[1].split(";")[0])
    assert client.get("/api/v1/options").status_code == 401


def test_a_session_cannot_be_used_by_other_sites(locked: Server) -> None:
    client = locked.client
    client.post("/api/v1/login", json={"password": PASSWORD}, headers=OWN)
    address = f"/api/v1/jobs/{'0' * 32}/cancel"
    own = ({"Origin": ADDRESS}, {"Sec-Fetch-Site": "same-origin"})
    others = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    )
    assert [client.post(address, headers=headers).status_code for headers in own] == [404, 404]
    assert {client.post(address, headers=headers).status_code for headers in others} == {403}


def test_without_a_password_other_sites_are_kept_out_too(serve: Serve) -> None:
    client = serve().client
    address = f"/api/v1/jobs/{'0' * 32}/cancel"
    assert client.post(address).status_code == 404
    for origin in ("https://evil.example", "http://[", "http://[x]", "null", ADDRESS.removeprefix("http://")):
        assert client.post(address, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::2]:8766"])
def test_other_host_names_are_refused(serve: Serve, host: str) -> None:
    answer = serve().client.get("/api/v1/health", headers={"Host": host})
    assert (answer.status_code, "host" in answer.json()["detail"]) == (403, True)


@pytest.mark.parametrize("host", ["localhost:8766", "LOCALHOST", "[::1]:8766", "box.example"])
def test_named_hosts_are_served(serve: Serve, host: str) -> None:
    client = serve(hosts=("localhost", "[::1]", "box.example")).client
    assert client.get("/api/v1/health", headers={"Host": host}).status_code == 200


def test_guessing_is_slowed_down() -> None:
    sessions = Sessions("right")
    token = sessions.begin("right")
    told = []
    for _ in range(ATTEMPTS + 1):
        with pytest.raises(Exception, match="password") as refused:
            sessions.check("wrong")
        told.append(refused.value.status)
    assert told == [401] * ATTEMPTS + [429]
    with pytest.raises(Exception, match="wait"):
        sessions.check("right")
    assert sessions.knows(token)
    assert not sessions.knows("")


def test_a_body_without_an_end_is_cut_off_before_the_password_is_known(locked: Server) -> None:
    taken, answers = 0, []

    async def receive():
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": taken < 1000}

    async def send(message) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/login",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8766"), (b"content-type", b"application/json")],
    }
    asyncio.run(locked.web(scope, receive, send))
    assert (answers[0]["status"], taken < 20) == (413, True)
    assert "too large" in json.loads(answers[1]["body"])["detail"]


def test_headers_keep_scripts_and_frames_out(serve: Serve) -> None:
    client = serve().client
    for path in ("/", "/api/v1/health", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_added_routers_stand_behind_the_same_doors(serve: Serve) -> None:
    router = APIRouter()

    @router.websocket("/api/v1/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    client = serve(password=PASSWORD, routers=[router]).client
    good = {**bearer(PASSWORD), **OWN, "Host": "127.0.0.1:8766"}
    with client.websocket_connect("/api/v1/live", headers=good) as socket:
        assert socket.receive_text() == "hello"
    for headers in ({}, {**good, "Origin": "http://evil.example"}, {**good, "Host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/v1/live", headers=headers):
            pass
