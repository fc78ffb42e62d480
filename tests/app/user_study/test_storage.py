from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from synhead.app.user_study.pages import QUESTIONS, Design
from synhead.app.user_study.storage import Storage, StudyError
from synhead.config import ConfigError
from tests.app.user_study.conftest import EXAMPLES, SYSTEMS

DESIGN = Design()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(tmp_path / "study.sqlite")
    made.create(SYSTEMS, EXAMPLES, DESIGN)
    return made


def answer_all(storage: Storage, code: str) -> None:
    """Ranks systems by name on every page."""
    storage.join(code, SYSTEMS, EXAMPLES, DESIGN)
    while (page := storage.next_page(code)) is not None:
        order = [item.token for item in sorted(page.items, key=lambda item: item.system)]
        storage.answer(code, page.token, dict.fromkeys(QUESTIONS, order), 2.5)


def test_answers_come_back_as_rankings(storage: Storage) -> None:
    answer_all(storage, "one")
    found = storage.rankings()
    assert set(found) == set(QUESTIONS)
    assert [ranking.order for ranking in found["motion"]] == [SYSTEMS, SYSTEMS]


def test_coming_back_goes_on_at_the_same_page(storage: Storage) -> None:
    storage.join("ann", SYSTEMS, EXAMPLES, DESIGN)
    first = storage.next_page("ann")
    assert first is not None
    storage.join("ann", SYSTEMS, EXAMPLES, DESIGN)
    assert storage.next_page("ann") == first
    with pytest.raises(StudyError, match="not known"):
        storage.next_page("bob")


def test_half_an_answer_leaves_nothing(storage: Storage) -> None:
    storage.join("ann", SYSTEMS, EXAMPLES, DESIGN)
    page = storage.next_page("ann")
    assert page is not None
    tokens = [item.token for item in page.items]
    whole = dict.fromkeys(QUESTIONS, tokens)
    for wrong in ({"motion": tokens}, {**whole, "motion": tokens[:2]}, {**whole, "overall": [tokens[0]] * 3}):
        with pytest.raises(StudyError, match="rank every video once"):
            storage.answer("ann", page.token, wrong, 1.0)
    storage.join("bob", SYSTEMS, EXAMPLES, DESIGN)
    with pytest.raises(StudyError, match="not one of yours"):
        storage.answer("bob", page.token, whole, 1.0)
    assert storage.rankings()["motion"] == []


def test_a_second_answer_changes_nothing(storage: Storage) -> None:
    storage.join("ann", SYSTEMS, EXAMPLES, DESIGN)
    page = storage.next_page("ann")
    assert page is not None
    order = [item.token for item in page.items]
    storage.answer("ann", page.token, dict.fromkeys(QUESTIONS, order), 1.0)
    before = storage.rankings()
    storage.answer("ann", page.token, dict.fromkeys(QUESTIONS, order[::-1]), 1.0)
    assert storage.rankings() == before


def test_many_at_once_lose_nothing(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: answer_all(storage, f"p{number}"), range(16)))
    assert all(len(found) == 16 * len(EXAMPLES) for found in storage.rankings().values())
    with sqlite3.connect(storage.path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT COUNT(DISTINCT number) FROM participants").fetchone() == (16,)


def test_another_study_is_refused(storage: Storage, tmp_path: Path) -> None:
    storage.create(SYSTEMS, EXAMPLES, DESIGN)
    with pytest.raises(ConfigError, match="other seed, systems"):
        storage.create(SYSTEMS[:2], EXAMPLES, Design(seed=1))
    (tmp_path / "text").write_text("no database, but long enough to be read as one: " * 40)
    with pytest.raises(ConfigError, match="--answers"):
        Storage(tmp_path / "text").create(SYSTEMS, EXAMPLES, DESIGN)
    with pytest.raises(ConfigError, match="does not exist"):
        Storage(tmp_path / "nothing").form()
