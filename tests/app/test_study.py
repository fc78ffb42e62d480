"""``synhead study`` and ``synhead study results`` from the outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from synhead.app.user_study.pages import QUESTIONS, Design
from synhead.app.user_study.storage import Storage
from tests.app.conftest import Finished
from tests.data.clip_factory import write_video

Run = Callable[..., Finished]

pytest.importorskip("uvicorn")


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for system in ("ours", "theirs"):
        for example in ("x", "y"):
            write_video(tmp_path / system / f"{example}.mp4", frames=3, size=64)
    return [tmp_path / "ours", tmp_path / "theirs"]


def test_the_page_is_served_until_ctrl_c(folders: list[Path], tmp_path: Path) -> None:
    line = "from synhead.app.cli import main; main()"
    given = ["study", *map(str, folders), "--answers", str(tmp_path / "a.sqlite"), "--port", "0"]
    process = subprocess.Popen([sys.executable, "-c", line, *given], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    with urllib.request.urlopen(address, timeout=30) as response:
        assert b"Video study" in response.read()
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert Storage(tmp_path / "a.sqlite").form()["systems"] == ["ours", "theirs"]


def test_results(run: Run, tmp_path: Path) -> None:
    storage, systems = Storage(tmp_path / "a.sqlite"), ("ours", "theirs")
    storage.create(systems, ("x", "y"), Design())
    assert "no answers yet" in run("study", "results", storage.path).err
    for code in ("ann", "bob"):
        storage.join(code, systems, ("x", "y"), Design())
        while (page := storage.next_page(code)) is not None:
            order = [item.token for item in sorted(page.items, key=lambda item: item.system)]
            storage.answer(code, page.token, dict.fromkeys(QUESTIONS, order), 1.0)
    finished = run("study", "results", storage.path, "-o", tmp_path / "out")
    assert finished.code == 0, finished.err
    assert "2 participants, 4 pages" in finished.out
    assert "1.00 (1.00 to 1.00)" in finished.out
    facts = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(facts["questions"]) == set(QUESTIONS)
    assert [s["mean_rank"]["value"] for s in facts["questions"]["motion"]] == [1.0, 2.0]
    assert (tmp_path / "out" / "fig06-study.png").is_file()
    assert "<svg" in (tmp_path / "out" / "fig06-study.svg").read_text()


def test_results_before_every_system_was_shown(run: Run, tmp_path: Path) -> None:
    storage, systems, design = Storage(tmp_path / "a.sqlite"), ("new", "ours", "theirs"), Design(together=2)
    storage.create(systems, ("x",), design)
    for number in range(20):  # until somebody's first page is of the last two
        storage.join(f"code{number}", systems, ("x",), design)
        page = storage.next_page(f"code{number}")
        if {item.system for item in page.items} == {"ours", "theirs"}:
            order = [item.token for item in page.items]
            storage.answer(f"code{number}", page.token, dict.fromkeys(QUESTIONS, order), 1.0)
    finished = run("study", "results", storage.path, "-o", tmp_path / "out")
    assert (finished.code, "no answered page shows new" in finished.err) == (0, True), finished.err
    facts = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=pytest.fail)
    assert facts["unseen"] == ["new"]
    assert [s["system"] for s in facts["questions"]["overall"]] == ["ours", "theirs"]


def test_wrong_use_is_one_line(run: Run, folders: list[Path], tmp_path: Path) -> None:
    wrong = {
        (str(folders[0]),): "two folders",
        ("results",): "one file of answers",
        ("results", str(tmp_path / "none")): "does not exist",
        (*map(str, folders), "--together", "5"): "--together",
    }
    for given, words in wrong.items():
        finished = run("study", *given)
        assert finished.code == 2, given
        assert words in finished.err, given
