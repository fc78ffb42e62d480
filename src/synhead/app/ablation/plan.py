"""Which runs an ablation consists of, how far each is, and the command that brings it further."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from synhead.config import AblationName, ConfigError
from synhead.data.files import replacing
from synhead.evaluation.ablation import Measurement
from synhead.training.checkpoint import CheckpointFolder
from synhead.training.setup import CONFIG_FILE

__all__ = ["Request", "Stage", "Task", "TaskError", "claim", "measurements", "parse_seeds", "parse_variants", "plan"]

Stage = Literal["train", "measure"]
FIGURES_FILE, TRAINED_FILE, REQUEST_FILE = "figures.json", "trained.json", "request.json"


class TaskError(RuntimeError):
    """A step of a run ended well, yet what it should have left is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all runs have in common. Exactly one of ``steps`` and ``minutes`` (in the training loop) is the budget."""

    preset: str
    data: str
    val: str | None
    steps: int | None
    minutes: float | None
    recipe: str
    batch: int | None = None
    precision: str | None = None
    compile: str | None = None
    perceptual: str | None = None
    settings: tuple[str, ...] = ()
    cache: str | None = None
    vgg: str | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError("give either --steps (the same for all, the fair default) or --minutes, not both")


@dataclass(frozen=True, slots=True)
class Task:
    """One variant with one seed: a normal run folder, RUNS/NAME, that is trained and then measured."""

    request: Request
    folder: Path
    variant: AblationName
    seed: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """Where its processes write."""
        return self.folder / "log.txt"

    def stage(self) -> Stage | None:
        """What is to be done next; None: nothing."""
        if not (self.folder / TRAINED_FILE).is_file():
            return "train"
        return None if (self.folder / FIGURES_FILE).is_file() else "measure"

    def command(self, stage: Stage, *, device: str) -> list[str]:
        """The process that does it, on ``cpu`` or ``cuda``."""
        if stage == "measure":
            data = self.request.val or self.request.data
            module = ["-m", "synhead.app.ablation.measure", str(self.folder), "--data", data]
            cache = self.folder.parent / "landmarks"
            return [sys.executable, *module, "--landmarks", str(cache), "--device", device]
        request = self.request
        given: dict[str, object] = {
            "--data": request.data,
            "--val": request.val,
            "--cache": request.cache,
            "--vgg": request.vgg,
            "--runs": self.folder.parent,
            "--name": self.folder.name,
            "--device": device,
            "--max-minutes": None if request.minutes is None else f"{self._minutes_left(request.minutes):.4f}",
        }
        if (self.folder / CONFIG_FILE).is_file():
            flags = ["--resume"]
        else:
            given |= {"--preset": request.preset, "--ablation": self.variant, "--recipe": request.recipe}
            given |= {"--seed": self.seed, "--iterations": request.steps, "--batch": request.batch}
            given |= {"--precision": request.precision, "--compile": request.compile}
            given |= {"--perceptual": request.perceptual}
            flags = [part for setting in request.settings for part in ("--set", setting)]
        options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
        return [sys.executable, "-m", "synhead.app.train", "--no-tensorboard", *options, *flags]

    def settle(self, stage: Stage) -> None:
        """Note that a step has ended by itself. Raises TaskError if it has not done its work."""
        if stage == "measure":
            if not (self.folder / FIGURES_FILE).is_file():
                raise TaskError(f"no {FIGURES_FILE} was written")
            return
        counters = self._counters()
        if self.request.steps is not None and counters["iteration"] < self.request.steps:
            raise TaskError(f"training stopped at iteration {counters['iteration']} of {self.request.steps}")
        with replacing(self.folder / TRAINED_FILE) as temporary:
            temporary.write_text(json.dumps(counters, indent=2) + "\n")

    def measurement(self) -> Measurement | None:
        """What is known of a run that is done; None for others."""
        if self.stage() is not None:
            return None
        found = json.loads((self.folder / FIGURES_FILE).read_text())
        counters = json.loads((self.folder / TRAINED_FILE).read_text())
        return Measurement(
            variant=self.variant,
            seed=self.seed,
            figures={name: math.nan if value is None else float(value) for name, value in found.items()},
            iterations=int(counters["iteration"]),
            pairs=int(counters["samples"]),
            minutes=round(float(counters["seconds"]) / 60, 2),
        )

    def _minutes_left(self, minutes: float) -> float:
        if not (self.folder / CONFIG_FILE).is_file():
            return minutes
        return max(0.0, minutes - self._counters()["seconds"] / 60)

    def _counters(self) -> Mapping[str, int | float]:
        """Of the newest checkpoint; zeros before the first."""
        latest = CheckpointFolder(self.folder / "checkpoints", keep=1).latest()
        if latest is None:
            return {"iteration": 0, "samples": 0, "seconds": 0.0}
        return cast(Mapping[str, int | float], json.loads((latest / "state.json").read_text())["counters"])


def parse_variants(text: str) -> tuple[AblationName, ...]:
    """Comma-separated names, each once. Raises ConfigError."""
    known = get_args(AblationName)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown variant {name!r}; choose among {', '.join(known)}")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"--variants {text}: name each variant once, separated by commas")
    return tuple(cast(AblationName, name) for name in names)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Comma-separated numbers, each once. Raises ConfigError."""
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--seeds {text}: expected numbers such as 0,1") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ConfigError(f"--seeds {text}: name each seed once, from 0")
    return seeds


def plan(request: Request, folder: Path, variants: Sequence[AblationName], seeds: Sequence[int]) -> tuple[Task, ...]:
    """All variants with the first seed come first, so that a table stands early."""
    return tuple(
        Task(request, folder / f"{variant}-seed{seed}", variant, seed) for seed in seeds for variant in variants
    )


def measurements(request: Request, folder: Path) -> tuple[Measurement, ...]:
    """Of every run in the folder that is done, those of earlier calls among them."""
    found = []
    for path in sorted(folder.glob("*-seed*")):
        variant, _, seed = path.name.rpartition("-seed")
        if variant in get_args(AblationName) and seed.isdecimal():
            measured = Task(request, path, cast(AblationName, variant), int(seed)).measurement()
            found += [] if measured is None else [measured]
    return tuple(found)


def claim(folder: Path, request: Request) -> None:
    """Write the request into a new folder; refuse one of an unequal request. Raises ConfigError naming the difference.

    Variants and seeds are no part of it: more of them may be asked for later.
    """
    path, wanted = folder / REQUEST_FILE, json.loads(json.dumps(asdict(request)))
    if path.is_file():
        found = json.loads(path.read_text())
        unequal = sorted(name for name in wanted if wanted[name] != found.get(name))
        if unequal:
            raise ConfigError(
                f"{folder} was begun with another {', '.join(unequal)}: unequal runs do not compare; "
                "repeat the command as it was, or choose another --output"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2) + "\n")
