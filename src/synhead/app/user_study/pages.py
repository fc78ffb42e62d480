"""Which videos a participant sees together, in which order: random, balanced over positions, fixed by the seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from synhead.config import ConfigError

MOST_TOGETHER = 12
QUESTIONS = {
    "appearance": "Appearance: which looks most like a real video of this person?",
    "motion": "Motion: which moves most naturally?",
    "overall": "Overall: which is the best video?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """``together``: systems on one page (0: all). ``pages``: at most so many a participant (0: all there are)."""

    together: int = 0
    pages: int = 0
    seed: int = 0

    def check(self, systems: int) -> None:
        """Raises ConfigError if so many systems cannot be shown together."""
        if self.together and not 2 <= self.together <= systems:
            raise ConfigError(f"--together {self.together}: choose from 2 to {systems}, the number of systems")
        if (self.together or systems) > MOST_TOGETHER:
            raise ConfigError(f"nobody can rank {systems} videos at once: show fewer, such as --together 4")


@dataclass(frozen=True, slots=True)
class Page:
    """One example by several systems, in the order in which they are shown."""

    example: str
    systems: tuple[str, ...]


def draw_pages(design: Design, participant: int, examples: Sequence[str], systems: Sequence[str]) -> tuple[Page, ...]:
    """The pages of the participant of that number (from 0), alike at every call.

    Every example comes with every set of ``together`` systems before the draw; examples are shuffled within rounds,
    so that no example comes again before all others have come. Positions are random on every page.
    """
    generator = random.Random(f"{design.seed} {participant}")
    sets = list(combinations(systems, design.together or len(systems)))
    generator.shuffle(sets)
    pages = []
    for turn in range(len(sets)):
        shuffled = list(examples)
        generator.shuffle(shuffled)
        for example in shuffled:
            shown = list(sets[(turn + examples.index(example)) % len(sets)])
            generator.shuffle(shown)
            pages.append(Page(example, tuple(shown)))
    return tuple(pages[: design.pages or None])
