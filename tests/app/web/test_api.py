from __future__ import annotations

import errno
import http.client
import json
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from synhead.app.web import desk
from synhead.app.web.contents import check_driving
from synhead.app.web.limits import Limits
from synhead.app.web.problems import RangedFile
from synhead.data.image import write_image
from synhead.data.video import probe, read_frames
from synhead.inference.job import AnimationJob
from tests.app.conftest import FRAMES
from tests.app.web.conftest import MIDDLE, Server, on_a_port
from tests.app.web.hostile import BOUNDARY, form

Serve = Callable[..., Server]


def test_a_job_from_upload_to_deletion(serve: Serve, media: Path, tmp_path: Path) -> None:
    server = serve()
    sent = server.send(media, {"side_by_side": True, "label": "AI", "multiplier": 0.5})
    assert sent.status_code == 202, sent.text
    status = server.wait(sent.json()["id"])
    assert (status["state"], status["error"]) == ("done", None)
    assert (status["frames_done"], status["report"]["frames"]) == (FRAMES, FRAMES)
    assert status["outputs"] == ["result", "side-by-side"]
    assert 0 < status["kept_seconds"] <= 3600
    address = f"/api/v1/jobs/{status['id']}"
    for name, width in (("result", 64), ("side-by-side", 64 + 57 + 64)):
        answer = server.client.get(f"{address}/{name}")
        assert answer.headers["content-type"] == "video/mp4"
        assert answer.headers["content-disposition"].startswith("inline; filename=")
        (tmp_path / "got.mp4").write_bytes(answer.content)
        assert len(list(read_frames(tmp_path / "got.mp4"))) == FRAMES
        assert probe(tmp_path / "got.mp4").width == width + width % 2
    folder = server.service.workspace.root / status["id"]
    assert {path.name for path in folder.iterdir()} == {"result.mp4", "side-by-side.mp4"}
    assert server.client.delete(address).status_code == 204
    assert not folder.exists()
    assert server.client.get(address).status_code == 404


def test_results_are_marked_as_generated(serve: Serve, media: Path, run, tmp_path: Path) -> None:
    server = serve()
    status = server.wait(server.send(media, {"side_by_side": True}).json()["id"])
    for name, kind in (("result", "trainedAlgorithmicMedia"), ("side-by-side", "compositeWithTrained")):
        (tmp_path / "got.mp4").write_bytes(server.client.get(f"/api/v1/jobs/{status['id']}/{name}").content)
        told = run("verify", tmp_path / "got.mp4", "--json")
        assert told.code == 0, told.err
        assert kind in told.out


def test_ranges_and_the_name_of_a_download(serve: Serve, media: Path) -> None:
    server = serve()
    status = server.wait(server.send(media).json()["id"])
    address = f"/api/v1/jobs/{status['id']}/result"
    whole = server.client.get(address, params={"download": "1"})
    part = server.client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    for span, code in {"bytes=999999999-": 416, "bytes=5-1": 400, "apples": 400}.items():
        refused = server.client.get(address, headers={"Range": span})
        assert (refused.status_code, "Range header" in refused.json()["detail"]) == (code, True)
        assert refused.headers.get("content-range") == (f"bytes */{len(whole.content)}" if code == 416 else None)
    assert whole.headers["content-disposition"] == f'attachment; filename="synhead-{status["id"][:8]}.mp4"'
    for headers in ({}, {"Range": "bytes=10-19"}, {"Range": "bytes=5-1"}):
        got, head = (ask(address, headers=headers) for ask in (server.client.get, server.client.head))
        assert (head.status_code, head.headers, head.content) == (got.status_code, got.headers, b"")
    missing = server.client.get(f"/api/v1/jobs/{status['id']}/side-by-side")
    assert missing.status_code == 404
    assert "side_by_side" in missing.json()["detail"]


def test_a_browser_asks_before_it_shows_its_copy_of_a_result(serve: Serve, media: Path) -> None:
    """A copy taken without asking would outlive deletion and signing out."""
    server = serve(password="open sesame")
    server.client.headers["Authorization"] = "Bearer open sesame"
    job = f"/api/v1/jobs/{server.wait(server.send(media).json()['id'])['id']}"
    got = server.client.get(f"{job}/result")
    assert got.headers["cache-control"] == "private, no-cache"
    tag = got.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = server.client.get(f"{job}/result", headers={"If-None-Match": known, "Range": "bytes=0-9"})
        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == (tag, "private, no-cache")
    assert server.client.get(f"{job}/result", headers={"If-None-Match": '"other"'}).content == got.content
    assert server.client.get(f"{job}/result", headers={"If-None-Match": tag, "Authorization": ""}).status_code == 401
    server.client.delete(job)
    assert server.client.get(f"{job}/result", headers={"If-None-Match": tag}).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=10-19"}, {"Range": "bytes=0-1,4-5"}, {"If-None-Match": "x"}])
def test_a_result_that_is_deleted_as_it_is_asked_for_is_no_fault(
    serve: Serve, media: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    server = serve()
    find = server.service.output

    def found_and_removed(job: str, which) -> Path:
        path = find(job, which)
        server.service.remove(job)
        return path

    monkeypatch.setattr(server.service, "output", found_and_removed)
    status = server.wait(server.send(media).json()["id"])
    answer = server.client.get(f"/api/v1/jobs/{status['id']}/result", headers=headers)
    assert (answer.status_code, "nothing is here" in answer.json()["detail"]) == (404, True)


def test_a_file_that_is_deleted_before_it_is_opened_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "result.mp4").write_bytes(b"video")
    sent = RangedFile(tmp_path / "result.mp4", stat_result=(tmp_path / "result.mp4").stat())
    (tmp_path / "result.mp4").unlink()
    answer = TestClient(sent).get("/")
    assert (answer.status_code, "nothing is here" in answer.json()["detail"]) == (404, True)


@pytest.mark.parametrize("kind", ["webm", "gif", "mov"])
def test_other_kinds(serve: Serve, media: Path, kind: str) -> None:
    server = serve()
    status = server.wait(server.send(media, {"kind": kind, "side_by_side": True}).json()["id"])
    assert status["state"] == "done", status
    got = server.client.get(f"/api/v1/jobs/{status['id']}/side-by-side")
    assert (got.status_code, kind in got.headers["content-type"] or kind == "mov") == (200, True)


def test_a_face_that_is_not_there_is_told_in_words_of_the_api(serve: Serve, media: Path) -> None:
    pytest.importorskip("mediapipe")
    server = serve()
    status = server.wait(server.send(media, {"crop": "auto"}).json()["id"])
    assert status["state"] == "failed"
    assert "no face was found" in status["error"]
    assert "crop box with box [left, top, right, bottom] in pixels, or crop center" in status["error"]
    assert "--" not in status["error"]
    assert str(server.service.workspace.root) not in status["error"]
    assert list(server.service.workspace.root.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"crop_scale": 9}, "crop_scale"),
        ({"crop_scale": "1"}, "crop_scale"),
        ({"colour": 1}, "colour"),
        ({"face": "best"}, "face"),
        ({"crop": "box"}, "crop box"),
        ({"box": [1, 2, 3]}, "box"),
        ({"motion": "absolute", "multiplier": 2.0}, "relative"),
        ({"reference": -1}, "reference"),
        ({"kind": "exe"}, "kind"),
        ({"label": ""}, "label"),
        ({"max_side": 10**9}, "max_side"),
    ],
)
def test_bad_options_are_refused_by_name(serve: Serve, media: Path, options: dict[str, object], part: str) -> None:
    server = serve()
    answer = server.send(media, options)
    assert answer.status_code == 422
    assert part in answer.json()["detail"]
    assert list(server.service.workspace.root.iterdir()) == []


def animated(kind: str, **options: object) -> bytes:
    """Four pictures, noise so that nothing is found in them; 640 ms."""
    noise = np.random.default_rng(1).integers(0, 256, (4, 72, 64, 3), dtype=np.uint8)
    first, *rest = [Image.fromarray(each) for each in noise]
    first.save(file := BytesIO(), kind, save_all=True, append_images=rest, duration=160, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_animated_pictures_drive(serve: Serve, media: Path, kind: str) -> None:
    done = []

    def run(task, progress, check):
        done.extend(frame.duration for frame in read_frames(task.job.driving))
        raise ValueError("enough; stop here")

    server = serve(run=run)
    answer = server.send(media, driving=("d", animated(kind)))
    assert answer.status_code == 202, answer.text
    server.wait(answer.json()["id"])
    assert [float(each) for each in done] == [0.16] * 4


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "JPEG"])
def test_still_pictures_do_not_drive(serve: Serve, media: Path, kind: str) -> None:
    Image.new("RGB", (64, 64)).save(file := BytesIO(), kind)
    answer = serve().send(media, driving=("d", file.getvalue()))
    assert (answer.status_code, "still picture" in answer.json()["detail"]) == (422, True)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
@pytest.mark.parametrize("limits", [{"frames": 3}, {"seconds": 0.5}, {"video_pixels": 64 * 72 - 1}])
def test_animated_pictures_are_no_longer_or_larger_than_videos(
    serve: Serve, media: Path, kind: str, limits: dict[str, float]
) -> None:
    answer = serve(Limits(**limits)).send(media, driving=("d", animated(kind)))
    words = {"frames": "more than 3 frames", "seconds": "more than 0.5 seconds", "video_pixels": "64 x 72 pixels"}
    assert (answer.status_code, words[next(iter(limits))] in answer.json()["detail"]) == (422, True)


def test_what_must_be_sent(serve: Serve, media: Path) -> None:
    server = serve()
    assert "portrait" in server.send(media, portrait=None).json()["detail"]
    assert "driving" in server.send(media, driving=None).json()["detail"]
    both = server.send(media, template=(None, "nod"))
    assert (both.status_code, "either" in both.json()["detail"]) == (422, True)
    unknown = server.send(media, driving=None, template=(None, "../../etc/passwd"))
    assert "no template of this name" in unknown.json()["detail"]
    assert server.client.post("/api/v1/jobs", json={}).status_code == 415


def test_an_upload_that_is_cancelled_while_it_is_checked_never_runs(
    serve: Serve, media: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, gone = threading.Event(), threading.Event()

    def slow(path: Path, limits: Limits) -> Path:
        checking.set()
        assert gone.wait(30)
        return check_driving(path, limits)

    monkeypatch.setattr(desk, "check_driving", slow)
    ran: list[object] = []
    server = serve(run=lambda *given: ran.append(given))
    files = {name: (name.encode(), (media / name).read_bytes()) for name in ("portrait.jpg", "driving.mp4")}
    body = form({"portrait": files["portrait.jpg"], "driving": files["driving.mp4"]})
    head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with on_a_port(server.web) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        connection.request("POST", "/api/v1/jobs", body, head)
        assert checking.wait(30)
        connection.close()
        time.sleep(0.3)  # until the server has noticed
        gone.set()
        until = time.monotonic() + 30
        while any(server.service.workspace.root.iterdir()):
            assert not ran
            assert time.monotonic() < until, "its files were kept"
            time.sleep(0.02)
    assert not ran


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("full", ["portrait", "driver", "options"])
def test_a_full_disk_is_told_and_nothing_is_left(
    serve: Serve, media: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """What fits the buffer fails as the file is closed, the rest as it is written."""
    really = Path.open

    def opened(path: Path, mode: str = "r", **options: object):
        if (path.name, mode) == (full, "xb"):
            path.touch()
            return really(Path("/dev/full"), "wb")
        return really(path, mode, **options)

    server = serve()
    monkeypatch.setattr(Path, "open", opened)
    for path in ("jobs", "preview"):
        fields = {"portrait": bytes(100_000), "options": b"{}", **({"driving": bytes(10)} if path == "jobs" else {})}
        answer = server.client.post(f"/api/v1/{path}", files=fields)
        if full != "driver" or path == "jobs":
            assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)
        assert list(server.service.workspace.root.iterdir()) == []
    assert server.service.counts() == (0, 0)


def test_a_disk_too_full_for_a_folder_is_told(serve: Serve, media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path, mode: int = 0o777) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    server = serve()
    monkeypatch.setattr(Path, "mkdir", mkdir)
    answer = server.send(media)
    assert (answer.status_code, "disk is full" in answer.json()["detail"]) == (507, True)


def test_a_preview_keeps_nothing(serve: Serve, media: Path) -> None:
    server = serve()
    files = {"portrait": (media / "portrait.jpg").read_bytes(), "options": json.dumps({"crop": "center"}).encode()}
    answer = server.client.post("/api/v1/preview", files=files)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["width"], found["height"], found["faces"]) == (64, 72, [])
    assert found["crops"] == [{"x": 32.0, "y": 36.0, "side": 64.0, "tilt": 0.0}]
    assert found["picture"].startswith("data:image/jpeg;base64,")
    assert list(server.service.workspace.root.iterdir()) == []


def test_a_preview_finds_faces(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    data = pytest.importorskip("skimage.data")
    write_image(tmp_path / "astronaut.png", data.astronaut())
    server = serve()
    files = {"portrait": (tmp_path / "astronaut.png").read_bytes()}
    found = server.client.post("/api/v1/preview", files=files).json()
    (face,) = found["faces"]
    assert face["chosen"]
    assert face["left"] < 225 < face["right"]
    assert face["top"] < 115 < face["bottom"]
    assert found["crops"][0]["side"] > face["right"] - face["left"]


def test_facts(serve: Serve) -> None:
    server = serve(Limits(seconds=7.0))
    facts = server.client.get("/api/v1/options").json()
    assert facts["limits"]["seconds"] == 7
    assert facts["defaults"]["crop"] == "auto"
    assert facts["defaults"].keys() >= MIDDLE.keys()
    assert server.client.get("/api/v1/templates").json() == []
    assert server.client.get("/api/v1/health").json()["status"] == "ok"
    for path in ("/docs", "/nothing", "/..%2fapi.py", "/static/index.html"):
        answer = server.client.get(path)
        assert (answer.status_code, "openapi.json" in answer.json()["detail"]) == (404, True)
    assert "other methods" in server.client.put("/api/v1/jobs").json()["detail"]


@pytest.mark.parametrize("path", ["/", "/web.js", "/api/v1/health", "/api/v1/options", "/api/v1/openapi.json", "/none"])
def test_head_is_answered_as_get_without_a_body(serve: Serve, path: str) -> None:
    client = serve().client
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.headers, head.content) == (got.status_code, got.headers, b"")
    assert got.status_code == (404 if path == "/none" else 200)


def test_a_job_ends_with_an_error_and_a_fault_says_so(serve: Serve, media: Path) -> None:
    def run(task, progress, check):
        assert isinstance(task.job, AnimationJob)
        raise ZeroDivisionError(f"secret {task.job.source}")

    server = serve(run=run)
    status = server.wait(server.send(media).json()["id"])
    assert status["state"] == "failed"
    assert "fault of the program" in status["error"]
    assert "secret" not in status["error"]
    early = server.client.get(f"/api/v1/jobs/{status['id']}/result")
    assert (early.status_code, "failed" in early.json()["detail"]) == (409, True)
