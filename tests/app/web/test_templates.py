from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.app.web.limits import Limits
from synhead.app.web.templates import gather
from synhead.config import ConfigError
from synhead.inference.animator import Animator
from tests.app.conftest import FRAMES
from tests.app.web.conftest import Server


@pytest.fixture
def folder(media: Path, run, tmp_path: Path) -> Path:
    """A clip, its motion as a template, one of other weights, and what is neither."""
    offered = tmp_path / "offered"
    offered.mkdir()
    shutil.copy(media / "driving.mp4", offered / "clip.mp4")
    (offered / "broken.mp4").write_bytes(b"no video")
    (offered / "notes.txt").write_text("no motion")
    for name, preset in (("nod", "tiny"), ("other", "lite")):
        done = run("record", media / "driving.mp4", "-o", offered / f"{name}.safetensors", "--preset", preset)
        assert done.code == 0, done.err
    return offered


def test_what_fits_is_offered_and_drives(serve: Callable[..., Server], media: Path, folder: Path, animator: Animator):
    offers, left_out = gather(folder, animator.fingerprint, Limits())
    assert {name: offer.fact.kind for name, offer in offers.items()} == {"clip": "video", "nod": "template"}
    assert offers["nod"].fact.frames == FRAMES
    assert ["broken.mp4" in left_out[0], "other" in left_out[1], len(left_out)] == [True, True, 2]
    server = serve(templates=offers)
    assert [fact["name"] for fact in server.client.get("/api/v1/templates").json()] == ["clip", "nod"]
    for name in offers:
        sent = server.send(media, {"side_by_side": True}, driving=None, template=(None, name))
        assert server.wait(sent.json()["id"])["report"]["frames"] == FRAMES
        assert offers[name].path.is_file()  # only what was sent is removed
    uploaded = server.send(media, driving=("whatever.mp4", (folder / "nod.safetensors").read_bytes()))
    assert server.wait(uploaded.json()["id"])["state"] == "done"
    other = server.send(media, driving=("other", (folder / "other.safetensors").read_bytes()))
    failed = server.wait(other.json()["id"])
    assert (failed["state"], "was recorded with" in failed["error"]) == ("failed", True)


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(seconds=0.15), "lasts more than 0.15 seconds"),
        (Limits(frames=FRAMES - 1), f"has more than {FRAMES - 1} frames"),
        (Limits(video_pixels=64 * 71), "has 64 x 72 pixels"),
    ],
)
def test_limits_of_uploads_hold_for_what_is_offered(folder: Path, animator: Animator, limits: Limits, told: str):
    """A template longer than what is taken in would be worked on until it breaks off, or block the others' jobs."""
    kept = ["nod"] if "pixels" in told else []
    offers, left_out = gather(folder, animator.fingerprint, limits)
    assert sorted(offers) == kept
    for name in {"clip.mp4", "nod.safetensors"} - {f"{each}.safetensors" for each in kept}:
        (line,) = [line for line in left_out if line.startswith(name)]
        assert told in line
        assert "--max-seconds" in line


def test_a_template_that_has_gone_is_told_without_the_servers_paths(
    serve: Callable[..., Server], media: Path, animator: Animator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "motions").mkdir()
    shutil.copy(media / "driving.mp4", tmp_path / "motions" / "nod.mp4")
    offers, _ = gather(Path("motions"), animator.fingerprint, Limits())
    server = serve(templates=offers)
    (tmp_path / "motions" / "nod.mp4").unlink()
    failed = server.wait(server.send(media, driving=None, template=(None, "nod")).json()["id"])
    assert failed["state"] == "failed"
    assert failed["error"].startswith("nod.mp4 does not exist")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_json_cannot_hold_is_left_out(
    serve: Callable[..., Server], media: Path, animator: Animator, tmp_path
):
    shutil.copy(media / "driving.mp4", os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    offers, left_out = gather(tmp_path, animator.fingerprint, Limits())
    assert (dict(offers), "rename the file" in left_out[0], left_out[0].isascii()) == ({}, True, True)
    assert serve(templates=offers).client.get("/api/v1/templates").json() == []


def test_no_such_folder(tmp_path: Path, animator: Animator) -> None:
    with pytest.raises(ConfigError, match="--templates"):
        gather(tmp_path / "none", animator.fingerprint, Limits())
