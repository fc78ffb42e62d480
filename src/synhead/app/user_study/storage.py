"""Answers in one SQLite file: write-ahead log, one transaction a change, so that a kill loses at most an open page."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from synhead.app.user_study.pages import QUESTIONS, Design, draw_pages
from synhead.config import ConfigError
from synhead.evaluation.study_statistics import Ranking

_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (id INTEGER PRIMARY KEY CHECK (id = 1), form TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS participants (
    code TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, joined TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pages (
    id INTEGER PRIMARY KEY, code TEXT NOT NULL REFERENCES participants, number INTEGER NOT NULL,
    example TEXT NOT NULL, token TEXT NOT NULL UNIQUE, answered TEXT, seconds REAL, UNIQUE (code, number));
CREATE TABLE IF NOT EXISTS items (
    token TEXT PRIMARY KEY, page INTEGER NOT NULL REFERENCES pages, position INTEGER NOT NULL, system TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ranks (
    item TEXT NOT NULL REFERENCES items, question TEXT NOT NULL, rank INTEGER NOT NULL, PRIMARY KEY (item, question));
"""


class StudyError(ValueError):
    """What a participant's browser sent cannot be taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Item:
    """One video on a page, by the name that the browser knows it by."""

    token: str
    system: str


@dataclass(frozen=True, slots=True)
class OpenPage:
    """The next page to answer. ``number`` counts from 0; ``token`` names it, and its reference, to the browser."""

    token: str
    number: int
    total: int
    example: str
    items: tuple[Item, ...]


class Storage:
    """The study in one file; every method is one transaction and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, systems: Sequence[str], examples: Sequence[str], design: Design) -> None:
        """Begin a study, or go on with the same one. Raises ConfigError if the file holds another."""
        form = {"systems": list(systems), "examples": list(examples), "together": design.together}
        form |= {"pages": design.pages, "seed": design.seed}
        try:
            with self._open() as connection:
                connection.executescript(_SCHEMA)
                connection.execute("INSERT OR IGNORE INTO study VALUES (1, ?)", (json.dumps(form),))
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{self.path} cannot be used ({error}); choose another --answers") from error
        found = self.form()
        unequal = sorted(name for name in form if form[name] != found.get(name))
        if unequal:
            raise ConfigError(
                f"{self.path} holds a study with other {', '.join(unequal)}: choose another --answers file"
            )

    def form(self) -> Mapping[str, object]:
        """Systems, examples and design. Raises ConfigError for a file that holds no study."""
        if not self.path.is_file():
            raise ConfigError(f"{self.path} does not exist; name the file of answers of a study")
        try:
            with self._open() as connection:
                row = connection.execute("SELECT form FROM study").fetchone()
        except sqlite3.DatabaseError as error:
            raise ConfigError(f"{self.path} holds no study ({error})") from error
        if row is None:
            raise ConfigError(f"{self.path} holds no study")
        found: Mapping[str, object] = json.loads(row[0])
        return found

    def join(self, code: str, systems: Sequence[str], examples: Sequence[str], design: Design) -> None:
        """Draw the pages of a new participant; nothing for one who comes back."""
        with self._open() as connection, _transaction(connection):
            if connection.execute("SELECT 1 FROM participants WHERE code = ?", (code,)).fetchone():
                return
            number = int(connection.execute("SELECT COUNT(*) FROM participants").fetchone()[0])
            connection.execute("INSERT INTO participants VALUES (?, ?, ?)", (code, number, _now()))
            for position, page in enumerate(draw_pages(design, number, examples, systems)):
                cursor = connection.execute(
                    "INSERT INTO pages (code, number, example, token) VALUES (?, ?, ?, ?)",
                    (code, position, page.example, secrets.token_urlsafe(12)),
                )
                rows = [(secrets.token_urlsafe(12), cursor.lastrowid, i, s) for i, s in enumerate(page.systems)]
                connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)

    def knows(self, code: str) -> bool:
        """Whether a participant has this code."""
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM participants WHERE code = ?", (code,)).fetchone() is not None

    def next_page(self, code: str) -> OpenPage | None:
        """The first page without an answer; None when all are done. Raises StudyError for an unknown code."""
        with self._open() as connection:
            total = int(connection.execute("SELECT COUNT(*) FROM pages WHERE code = ?", (code,)).fetchone()[0])
            if not total:
                raise StudyError("this code is not known here; start again from the first page")
            row = connection.execute(
                "SELECT id, token, number, example FROM pages WHERE code = ? AND answered IS NULL ORDER BY number",
                (code,),
            ).fetchone()
            if row is None:
                return None
            return OpenPage(row[1], row[2], total, row[3], _items(connection, row[0]))

    def answer(self, code: str, page: str, rankings: Mapping[str, Sequence[str]], seconds: float) -> None:
        """Keep the answer to a page: for each question the tokens of its videos, best first. A second one is ignored.

        Raises StudyError for a page of somebody else, or rankings that do not name each video once.
        """
        with self._open() as connection, _transaction(connection):
            row = connection.execute("SELECT id, answered, code FROM pages WHERE token = ?", (page,))
            found = row.fetchone()
            if found is None or not secrets.compare_digest(str(found[2]).encode(), code.encode()):
                raise StudyError("this page is not one of yours; load it again")
            if found[1] is not None:
                return
            shown = sorted(item.token for item in _items(connection, found[0]))
            if set(rankings) != set(QUESTIONS) or any(sorted(order) != shown for order in rankings.values()):
                raise StudyError("rank every video once for every question")
            connection.executemany(
                "INSERT INTO ranks VALUES (?, ?, ?)",
                [(t, question, i) for question, order in rankings.items() for i, t in enumerate(order, start=1)],
            )
            connection.execute("UPDATE pages SET answered = ?, seconds = ? WHERE id = ?", (_now(), seconds, found[0]))

    def video(self, token: str) -> tuple[str, str] | None:
        """(system, example) of a video's token; None if there is none."""
        query = "SELECT system, example FROM items JOIN pages ON pages.id = items.page WHERE items.token = ?"
        with self._open() as connection:
            row = connection.execute(query, (token,)).fetchone()
        return None if row is None else (row[0], row[1])

    def example(self, token: str) -> str | None:
        """The example of a page's token."""
        with self._open() as connection:
            row = connection.execute("SELECT example FROM pages WHERE token = ?", (token,)).fetchone()
        return None if row is None else str(row[0])

    def rankings(self) -> dict[str, list[Ranking]]:
        """All answers by question."""
        query = """
            SELECT ranks.question, pages.code, pages.id, items.system FROM ranks
            JOIN items ON items.token = ranks.item JOIN pages ON pages.id = items.page
            ORDER BY ranks.question, pages.code, pages.number, ranks.rank"""
        orders: dict[tuple[str, str, int], list[str]] = {}
        with self._open() as connection:
            for question, code, page, system in connection.execute(query):
                orders.setdefault((question, code, page), []).append(system)
        found: dict[str, list[Ranking]] = {question: [] for question in QUESTIONS}
        for (question, code, _), order in orders.items():
            found[question].append(Ranking(code, tuple(order)))
        return found

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything or nothing; writers wait for each other."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _items(connection: sqlite3.Connection, page: int) -> tuple[Item, ...]:
    rows = connection.execute("SELECT token, system FROM items WHERE page = ? ORDER BY position", (page,))
    return tuple(Item(token, system) for token, system in rows)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
