"""Which runs an ablation consists of, how far each is, and the command that brings it further."""

from __future__ import annotations

import json
import math
import shutil
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

TRAINED_FILE, REQUEST_FILE = "trained.json", "request.json"
FINAL = "weights"
_PLACES = {"data", "val", "cache", "vgg"}


@dataclass(frozen=True, slots=True)
class Stage:
    """A step of a run: ``weights`` names what is rendered or measured, the final ones or those of an iteration."""

    action: Literal["train", "render", "measure"]
    weights: str = FINAL

    def __str__(self) -> str:
        return self.action if self.weights == FINAL else f"{self.action} {self.weights}"


def frames_folder(weights: str) -> str:
    """Where a run keeps the pictures that these weights made."""
    return weights.replace(FINAL, "frames", 1)


def figures_file(weights: str) -> str:
    """What a run's pictures scored."""
    return weights.replace(FINAL, "figures", 1) + ".json"


class TaskError(RuntimeError):
    """A step of a run ended well, yet what it should have left is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all runs have in common. Exactly one of ``steps`` and ``minutes`` (of the training process) is the budget.

    ``at``: besides the final weights, those after so many iterations are kept and measured.
    """

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
    at: int | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ConfigError("give either --steps (the same for all, the fair default) or --minutes, not both")
        if self.at is not None and self.steps is not None and self.at > self.steps:
            raise ConfigError(f"--at {self.at} comes after the last of --steps {self.steps}")

    @property
    def weights(self) -> tuple[str, ...]:
        """Folders of a run whose weights are measured."""
        return (FINAL,) if self.at is None else (FINAL, f"{FINAL}-{self.at}")


@dataclass(frozen=True, slots=True)
class Task:
    """One variant with one seed: a normal run folder, RUNS/NAME, that is trained, renders held-out clips, is measured.

    ``measuring``: whether faces can be measured on this machine; what is rendered can be measured on another.
    """

    request: Request
    folder: Path
    variant: AblationName
    seed: int
    measuring: bool = True

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def log(self) -> Path:
        """Where its processes write."""
        return self.folder / "log.txt"

    def stage(self) -> Stage | None:
        """What is to be done next; None: nothing, here."""
        if not (self.folder / TRAINED_FILE).is_file():
            return Stage("train")
        left = [weights for weights in self.request.weights if not (self.folder / figures_file(weights)).is_file()]
        unseen = [weights for weights in left if not (self.folder / frames_folder(weights)).is_dir()]
        if unseen:
            return Stage("render", unseen[0])
        return Stage("measure", left[0]) if left and self.measuring else None

    def command(self, stage: Stage, *, device: str) -> list[str]:
        """The process that does it, on ``cpu`` or ``cuda``."""
        if stage.action != "train":
            data = self.request.val or self.request.data
            module = ["-m", f"synhead.app.ablation.{stage.action}", str(self.folder), "--data", data]
            cache = ("--landmarks", str(self.folder.parent / "landmarks"))
            where = ("--device", device) if stage.action == "render" else cache
            return [sys.executable, *module, "--weights", stage.weights, *where]
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
            kept = () if request.at is None else (f"training.every.weights={request.at}",)
            flags = [part for setting in (*request.settings, *kept) for part in ("--set", setting)]
        options = [part for name, value in given.items() if value is not None for part in (name, str(value))]
        return [sys.executable, "-m", "synhead.app.train", "--no-tensorboard", *options, *flags]

    def settle(self, stage: Stage) -> None:
        """Note that a step has ended by itself. Raises TaskError if it has not done its work."""
        if stage.action != "train":
            left = frames_folder(stage.weights) if stage.action == "render" else figures_file(stage.weights)
            if not (self.folder / left).exists():
                raise TaskError(f"no {left} was written")
            return
        state, wanted = self._state(), self.request.steps or self.request.at or 0
        if state["counters"]["iteration"] < wanted:
            raise TaskError(f"training stopped at iteration {state['counters']['iteration']} of {wanted}")
        for path in self.folder.glob(f"{FINAL}-*"):  # training keeps weights at every multiple of --at
            if path.name not in self.request.weights:
                shutil.rmtree(path)
        known = {**state["counters"], "clips": state.get("data", {}).get("clips")}
        with replacing(self.folder / TRAINED_FILE) as temporary:
            temporary.write_text(json.dumps(known, indent=2) + "\n")

    def measurement(self, weights: str = FINAL) -> Measurement | None:
        """What is known of weights that are measured; None for others. Time is shared out evenly over iterations."""
        path = self.folder / figures_file(weights)
        if not (path.is_file() and (self.folder / TRAINED_FILE).is_file()):
            return None
        found = json.loads(path.read_text())
        counters = json.loads((self.folder / TRAINED_FILE).read_text())
        done = int(counters["iteration"])
        iteration = done if weights == FINAL else int(weights.removeprefix(f"{FINAL}-"))
        return Measurement(
            variant=self.variant,
            seed=self.seed,
            figures={name: math.nan if value is None else float(value) for name, value in found.items()},
            iterations=iteration,
            pairs=round(counters["samples"] * iteration / max(1, done)),
            minutes=round(float(counters["seconds"]) * iteration / max(1, done) / 60, 2),
        )

    def _minutes_left(self, minutes: float) -> float:
        if not (self.folder / CONFIG_FILE).is_file():
            return minutes
        return max(0.0, minutes - self._state()["counters"]["seconds"] / 60)

    def _state(self) -> Mapping[str, Mapping[str, int | float]]:
        """Of the newest checkpoint; zeros before the first."""
        latest = CheckpointFolder(self.folder / "checkpoints", keep=1).latest()
        if latest is None:
            return {"counters": {"iteration": 0, "samples": 0, "seconds": 0.0}}
        return cast(Mapping[str, Mapping[str, int | float]], json.loads((latest / "state.json").read_text()))


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


def plan(
    request: Request,
    folder: Path,
    variants: Sequence[AblationName],
    seeds: Sequence[int],
    *,
    measuring: bool = True,
) -> tuple[Task, ...]:
    """All variants with the first seed come first, so that a table stands early."""
    return tuple(
        Task(request, folder / f"{variant}-seed{seed}", variant, seed, measuring)
        for seed in seeds
        for variant in variants
    )


def measurements(request: Request, folder: Path, weights: str = FINAL) -> tuple[Measurement, ...]:
    """Of every run in the folder whose ``weights`` are measured, those of earlier calls and machines among them.

    Raises ConfigError if they were trained on different clips.
    """
    found, clips = [], dict[object, str]()
    for path in sorted(folder.glob("*-seed*")):
        variant, _, seed = path.name.rpartition("-seed")
        if variant in get_args(AblationName) and seed.isdecimal():
            measured = Task(request, path, cast(AblationName, variant), int(seed)).measurement(weights)
            if measured is not None:
                found.append(measured)
                clips.setdefault(json.loads((path / TRAINED_FILE).read_text()).get("clips"), path.name)
    if len(clips) > 1:
        raise ConfigError(f"{' and '.join(clips.values())} in {folder} were trained on different clips: not comparable")
    return tuple(found)


def claim(folder: Path, request: Request) -> None:
    """Write the request into a new folder, or one in which every run failed before it began (a wrong setting, too large
    a batch); refuse one of an unequal request. Raises ConfigError naming the difference.

    Variants and seeds are no part of it, for more of them may be asked for later, nor is where files lie: another
    machine may go on, and runs note which clips they saw.
    """
    path, wanted = folder / REQUEST_FILE, json.loads(json.dumps(asdict(request)))
    begun = any(any(folder.glob(f"*-seed*/{name}")) for name in (CONFIG_FILE, TRAINED_FILE))
    if path.is_file() and begun:
        found = json.loads(path.read_text())
        unequal = sorted(name for name in wanted.keys() - _PLACES if wanted[name] != found.get(name))
        if unequal:
            raise ConfigError(
                f"{folder} was begun with another {', '.join(unequal)}: unequal runs do not compare; "
                "repeat the command as it was, or choose another --output"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(wanted, indent=2) + "\n")
