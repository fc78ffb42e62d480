from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from synhead.app.user_study.material import Material, gather
from synhead.app.user_study.pages import Design, draw_pages
from synhead.config import ConfigError
from tests.app.user_study.conftest import EXAMPLES, SYSTEMS


def test_equal_names_are_one_example(material: Material, folders: list[str], tmp_path: Path) -> None:
    assert material.systems == SYSTEMS
    assert material.examples == EXAMPLES
    assert set(material.references) == {EXAMPLES[0]}
    (tmp_path / "ours" / "turn-left.mp4").rename(tmp_path / "ours" / "other.mp4")
    fewer = gather([f"renamed={folders[0]}", *folders[1:]])
    assert fewer.systems == ("renamed", *SYSTEMS[1:])
    assert fewer.examples == (EXAMPLES[0],)
    assert fewer.left_out == ("other", "turn-left")


def test_what_cannot_be_compared_is_refused(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    wrong = {
        "two folders": [folders[0]],
        "called 'x'": [f"x={folders[0]}", f"x={folders[1]}"],
        "holds no": [folders[0], str(tmp_path / "empty")],
        "no folder": [folders[0], str(tmp_path / "nowhere")],
    }
    for words, given in wrong.items():
        with pytest.raises(ConfigError, match=words):
            gather(given)
    with pytest.raises(ConfigError, match="--together 4"):
        Design(together=4).check(3)
    with pytest.raises(ConfigError, match="13 videos at once"):
        Design().check(13)
    Design(together=2).check(13)


def test_two_files_of_one_name_are_refused(folders: list[str], tmp_path: Path) -> None:
    (tmp_path / "shown" / f"{EXAMPLES[0]}.jpg").write_bytes(b"the source")
    with pytest.raises(ConfigError, match=r"smile_obama\.jpg and smile_obama\.mp4"):
        gather(folders, tmp_path / "shown")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_cannot_be_kept_are_refused(folders: list[str], tmp_path: Path) -> None:
    for folder in folders:
        Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.mp4")).write_bytes(b"a video")
    with pytest.raises(ConfigError, match="rename it"):
        gather(folders)


def test_pages_are_random_yet_fixed_and_fair() -> None:
    examples = tuple("vwxyz")
    first = draw_pages(Design(), 0, examples, SYSTEMS)
    assert first == draw_pages(Design(), 0, examples, SYSTEMS)
    assert first != draw_pages(Design(), 1, examples, SYSTEMS)
    assert first != draw_pages(Design(seed=1), 0, examples, SYSTEMS)
    assert sorted(page.example for page in first) == list(examples)
    assert all(sorted(page.systems) == sorted(SYSTEMS) for page in first)
    leading = Counter(
        page.systems[0] for person in range(60) for page in draw_pages(Design(), person, examples, SYSTEMS)
    )
    assert all(70 <= leading[system] <= 130 for system in SYSTEMS)


def test_pairs_come_once_each_and_examples_take_turns() -> None:
    pages = draw_pages(Design(together=2), 3, EXAMPLES, SYSTEMS)
    assert len({(page.example, frozenset(page.systems)) for page in pages}) == len(pages) == 6
    assert all({a.example, b.example} == set(EXAMPLES) for a, b in zip(pages[::2], pages[1::2], strict=True))
    assert len(draw_pages(Design(together=2, pages=4), 3, EXAMPLES, SYSTEMS)) == 4
