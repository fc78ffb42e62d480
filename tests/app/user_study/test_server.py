from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from synhead.app.user_study import serving
from synhead.app.user_study.material import Material
from synhead.app.user_study.pages import QUESTIONS, Design
from synhead.app.user_study.server import Study, web_application
from synhead.app.user_study.storage import Storage
from tests.app.user_study.conftest import EXAMPLES, SYSTEMS

testclient = pytest.importorskip("fastapi.testclient")


@pytest.fixture
def study(material: Material, tmp_path: Path) -> Study:
    storage = Storage(tmp_path / "study.sqlite")
    storage.create(material.systems, material.examples, Design())
    return Study(material, Design(), storage)


@pytest.fixture
def client(study: Study):
    return testclient.TestClient(web_application(study), base_url="http://127.0.0.1:8765")


def join(client, **body):
    response = client.post("/api/join", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def answer(client, state, **changes):
    order = [video["token"] for video in state["page"]["videos"]]
    given = {"code": state["code"], "page": state["page"]["token"], "seconds": 3.5}
    return client.post("/api/answer", json={**given, "rankings": dict.fromkeys(QUESTIONS, order), **changes})


def test_a_participant_answers_page_by_page_and_comes_back(client) -> None:
    state = join(client)
    assert (state["page"]["number"], state["page"]["total"]) == (0, 2)
    assert [video["letter"] for video in state["page"]["videos"]] == ["A", "B", "C"]
    second = answer(client, state).json()
    assert second["page"]["number"] == 1
    assert join(client, code=state["code"])["page"] == second["page"]
    assert answer(client, second).json()["page"] is None
    assert join(client, code=state["code"])["page"] is None


def test_a_code_that_is_typed_in_capitals_or_without_hyphens_is_the_same(client) -> None:
    first = join(client)
    second = answer(client, first).json()
    assert len(first["code"]) == 17
    for typed in (first["code"].upper(), first["code"].replace("-", "")):
        assert join(client, code=typed) == second


def test_a_mistyped_code_is_told_and_begins_nobody(client, study: Study) -> None:
    """Unless it is said to be a first visit's, by a code that was agreed."""
    state = join(client)
    code = state["code"]
    swapped = code[1] + code[0] + code[2:] if code[0] != code[1] else code[:-1]
    for typed in (swapped, code[:-1], code + "x", "gaest"):
        refused = client.post("/api/join", json={"code": typed})
        assert (refused.status_code, "not known here" in refused.json()["detail"]) == (404, True)
        assert not study.storage.knows(typed)
    assert join(client, code=code) == state
    guest = join(client, code="guest", begin=True)
    assert (guest["code"], guest["page"]["number"]) == ("guest", 0)
    assert answer(client, guest).json() == join(client, code="guest") == join(client, code="guest", begin=True)


def test_codes_of_before_go_on(client, study: Study) -> None:
    """Six digits, or whatever was agreed, also where it looks like one of today's typed in another way."""
    for old in ("161e23", "K7FQ2MWDX9HBTRS", "k7fq2mwdx9hbtrs"):
        study.storage.join(old, study.material.systems, study.material.examples, study.design)
        state = join(client, code=old)
        assert (state["code"], state["page"]["number"]) == (old, 0)
        assert answer(client, state).json()["page"]["number"] == 1
        assert join(client, code=old)["page"]["number"] == 1
    assert study.storage.knows("161e23")
    assert not study.storage.knows("k7fq2-mwdx9-hbtrs")


def test_nothing_sent_names_a_system_or_a_file(client, study: Study) -> None:
    state = join(client)
    sent = []
    for path in ("/", "/study.js", "/study.css"):
        response = client.get(path)
        assert response.status_code == 200
        sent += [response.text, json.dumps(dict(response.headers))]
    while state["page"] is not None:
        sent.append(json.dumps(state))
        for video in state["page"]["videos"]:
            response = client.get(f"/video/{video['token']}")
            sent.append(json.dumps(dict(response.headers)))
        if state["page"]["reference"]:
            sent.append(json.dumps(dict(client.get(f"/reference/{state['page']['token']}").headers)))
        state = answer(client, state).json()
    hidden = [*SYSTEMS, *EXAMPLES, str(study.storage.path.parent)]
    assert not [(name, text) for name in hidden for text in sent if name in text]


def test_tokens_never_come_twice(client) -> None:
    states = [join(client) for _ in range(4)]
    tokens = [video["token"] for state in states for video in state["page"]["videos"]]
    assert len(set(tokens)) == len(tokens) == 12


def test_videos_can_be_sought_in(client, study: Study) -> None:
    token = join(client)["page"]["videos"][0]["token"]
    system, example = study.storage.video(token)
    data = study.material.videos[system][example].read_bytes()
    whole, part = client.get(f"/video/{token}"), client.get(f"/video/{token}", headers={"Range": "bytes=10-19"})
    assert whole.content == data
    assert whole.headers["content-type"] == "video/mp4"
    assert (part.status_code, part.content) == (206, data[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(data)}"


@pytest.mark.parametrize("path", ["/video/none", "/reference/none", "/?file=/etc/passwd", "/..%2fserver.py", "/docs"])
def test_nothing_else_is_served(client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404 or "Video study" in response.text
    assert "root:" not in response.text


def test_bad_answers_are_refused_with_a_reason(client) -> None:
    state = join(client)
    wrong = answer(client, state, rankings={"motion": []})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "rank every video once for every question")
    assert answer(client, state, code="someone").status_code == 422
    assert answer(client, state, seconds=-1).status_code == 422
    assert client.post("/api/join", json={"code": "../etc"}).status_code == 422
    assert answer(client, state).status_code == 200


def test_bodies_are_small(client) -> None:
    assert client.post("/api/join", json={"code": "abc", "more": "a" * 100_000}).status_code == 413
    assert client.post("/api/join", json={"code": "abc", "begin": True}).status_code == 200


def test_other_hosts_and_scripts_are_kept_out(client) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("join", r'{"code": "\ud800"}'),
        ("join", '{"code": NaN}'),
        ("join", f'{{"code": {"1" * 400}}}'),
        ("answer", '{"code": "abc", "page": "x", "rankings": {}, "seconds": NaN}'),
        ("answer", '{"code": "abc", "page": "x", "rankings": {}, "seconds": 1e999}'),
        ("answer", f'{{"code": "abc", "page": "x", "rankings": {{}}, "seconds": 1{"0" * 400}}}'),
        ("answer", r'{"code": "abc", "page": "\ud800", "rankings": {}, "seconds": 1}'),
        ("answer", r'{"code": "abc", "page": "x", "rankings": {"\ud800": ["\ud800"]}, "seconds": 1}'),
    ],
)
def test_numbers_and_words_that_cannot_be_are_refused(client, path: str, body: str) -> None:
    response = client.post(f"/api/{path}", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert response.json()["detail"]


def test_head_is_answered_as_get_without_a_body(client) -> None:
    state = join(client)
    video = f"/video/{state['page']['videos'][0]['token']}"
    for path, headers in (("/", {}), ("/study.js", {}), (video, {}), (video, {"Range": "bytes=5-9"}), ("/video/x", {})):
        got, head = client.get(path, headers=headers), client.head(path, headers=headers)
        assert (head.status_code, head.headers, head.content) == (got.status_code, got.headers, b"")
    assert client.head("/api/join").status_code == 405


def test_the_address_that_is_told_is_one_that_a_browser_takes(
    material: Material, tmp_path, monkeypatch, capsys
) -> None:
    """As far as listening on ::1, which nobody else reaches."""
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
    serving.serve(material, Design(), Storage(tmp_path / "a.sqlite"), host="::1", port=0)
    told = capsys.readouterr()
    assert told.out.startswith("http://[::1]:")
    assert "everybody" not in told.err


def test_a_full_disk_is_told_and_no_half_of_an_answer_is_kept(study: Study, monkeypatch) -> None:
    client = testclient.TestClient(
        web_application(study), base_url="http://127.0.0.1:8765", raise_server_exceptions=False
    )
    state = join(client)
    really = Storage._open

    @contextmanager
    def full(storage: Storage):
        with really(storage) as connection:
            connection.execute("PRAGMA max_page_count = 1")  # becomes as many as there are
            yield connection

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "_open", full)
        for number in range(100):
            refused = client.post("/api/join", json={"code": f"guest{number}", "begin": True})
            if refused.status_code != 200:
                break
    assert (refused.status_code, "disk may be full" in refused.json()["detail"]) == (507, True)
    assert not study.storage.knows(f"guest{number}")
    assert answer(client, state).status_code == 200
