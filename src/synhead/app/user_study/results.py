"""What a study came to: mean ranks and scores by question, as a table, JSON and the bar chart of figure 6."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from synhead.app.user_study.pages import QUESTIONS
from synhead.app.user_study.storage import Storage
from synhead.config import ConfigError
from synhead.data.files import replacing
from synhead.evaluation.figures.canvas import write_drawing
from synhead.evaluation.figures.rank_chart import rank_chart
from synhead.evaluation.study_statistics import Standing, standings


@dataclass(frozen=True, slots=True)
class Results:
    """``questions``: standings by question, in the order of the systems. ``pages``: answered ones. ``unseen``: systems
    that no answered page shows, which have no standing yet.
    """

    participants: int
    pages: int
    questions: Mapping[str, tuple[Standing, ...]]
    unseen: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Readable JSON."""
        questions = {name: [asdict(standing) for standing in found] for name, found in self.questions.items()}
        facts = {"participants": self.participants, "pages": self.pages, "questions": questions}
        facts["unseen"] = self.unseen
        return json.dumps(facts, indent=2) + "\n"


def compute(storage: Storage, *, seed: int = 0, resamples: int = 1000) -> Results:
    """Statistics of all answers so far. Raises ConfigError for a file without a study or without answers."""
    systems = cast(list[str], storage.form()["systems"])
    rankings = storage.rankings()
    overall = rankings[next(iter(QUESTIONS))]
    if not overall:
        raise ConfigError(f"{storage.path} holds no answers yet: let people finish at least one page")
    return Results(
        participants=len({ranking.participant for ranking in overall}),
        pages=len(overall),
        questions={name: standings(found, systems, seed=seed, resamples=resamples) for name, found in rankings.items()},
        unseen=tuple(system for system in systems if not any(system in ranking.order for ranking in overall)),
    )


def write(results: Results, folder: Path) -> tuple[Path, ...]:
    """``results.json``, ``fig06-study.svg`` and ``fig06-study.png``, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "results.json"
    with replacing(report) as temporary:
        temporary.write_text(results.to_json(), encoding="utf-8")
    counts = f"{results.participants} participants, {results.pages} pages"
    note = f"{counts}; bars: mean rank, 1 is best; lines: 95 % interval"
    chart = rank_chart(results.questions, note)
    pictures = tuple(folder / f"fig06-study{suffix}" for suffix in (".svg", ".png"))
    for path in pictures:
        write_drawing(chart, path)
    return (report, *pictures)
