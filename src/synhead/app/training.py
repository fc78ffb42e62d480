"""What ``synhead train`` does around the trainer: choose the configuration, watch clock and signals, show, export."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Literal, cast, get_args

import torch
from lightning_fabric import Fabric
from rich.logging import RichHandler
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from synhead.app.console import remark, remarks, say
from synhead.config import AblationName, ConfigError, ModelConfig, ablate, to_json
from synhead.config import preset as named_preset
from synhead.data.files import replacing
from synhead.training.config import RecipeName, RunConfig, override, recipe
from synhead.training.distributed import leave_group, make_fabric
from synhead.training.failing import memory_told, nothing_left
from synhead.training.leg import export_leg
from synhead.training.loop import train
from synhead.training.run import Outcome, Progress, Run
from synhead.training.setup import Inputs, assemble, saved_config
from synhead.weights.checkpoint import read_info
from synhead.weights.checkpoint import save as save_weights

_BEGUN = time.monotonic()
_SHOWN = ("pixel", "perceptual", "adversarial", "motion_reconstruction", "equivariance_value")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where the configuration comes from: the run that goes on, the leg or weights it starts from, or preset and
    recipe (None: ``paper``, ``published``).
    """

    preset: str | None
    ablation: str | None
    recipe: RecipeName | None
    folder: Path
    resume: bool
    leg: Path | None
    init: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Ending:
    """When to stop early, and what to write at the end."""

    max_minutes: float | None
    leg: Path | None
    half: bool


def configure(choice: Choice, changes: Mapping[str, object]) -> RunConfig:
    """The run's configuration with ``changes`` (None: unchanged).

    Raises ConfigError, also for a preset, ablation or recipe that is not that of the run to go on from, or
    CheckpointError.
    """
    if choice.init is not None and (choice.leg is not None or choice.preset is not None):
        raise ConfigError("--init names weights, which come with their size: leave --warm-start and --preset out")
    found = saved_config(choice.folder) if choice.resume else None
    if found is None and choice.leg is not None:
        found = saved_config(choice.leg)
    if found is None:
        model = named_preset(choice.preset or "paper") if choice.init is None else _untuned(choice.init)
        if choice.ablation is not None:
            model = ablate(model, cast(AblationName, choice.ablation))
        found = recipe(choice.recipe or "published", model)
    else:
        _require_alike(found, choice, changes)
    return override(found, changes)


def _require_alike(found: RunConfig, choice: Choice, changes: Mapping[str, object]) -> None:
    """``found``, which goes on, is what was asked for by name. Raises ConfigError."""
    named, _, last = found.model.name.rpartition("-")
    name, variant = (named, last) if named and last in get_args(AblationName) else (found.model.name, "full")
    noted = found.recipe or _most_like(found, choice, changes)
    asked = {"preset": (choice.preset, name), "ablation": (choice.ablation, variant), "recipe": (choice.recipe, noted)}
    for option, (wanted, is_of) in asked.items():
        if wanted is not None and wanted != is_of:
            raise ConfigError(
                f"the run to go on from is of {option} {is_of}, not {wanted}: leave --{option} out to go on with it, "
                "or begin another run by another --name"
            )


def _most_like(found: RunConfig, choice: Choice, changes: Mapping[str, object]) -> RecipeName:
    """The recipe of an older run, which did not note it: the one with most of its fields, but for those given now."""
    fields = _fields(json.loads(to_json(found)))
    given = {name for name, value in changes.items() if value is not None}
    likeness: dict[RecipeName, int] = {}
    for name in get_args(RecipeName):
        of_recipe = _fields(json.loads(to_json(recipe(name, found.model))))
        likeness[name] = sum(of_recipe.get(field) == value for field, value in fields.items() if field not in given)
    return max(likeness, key=lambda each: (likeness[each], each == choice.recipe))


def _fields(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """By dotted name."""
    found: dict[str, object] = {}
    for name, value in tree.items():
        found |= _fields(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _untuned(checkpoint: Path) -> ModelConfig:
    """The model of weights that training goes on from, which then need no gain or another one."""
    return replace(read_info(checkpoint).model, lid_gain=1.0)


def parse_settings(settings: Sequence[str], named: Mapping[str, object] | None = None) -> dict[str, object]:
    """``NAME=VALUE`` texts, the values as JSON or as plain words, and the options that are ``named`` and not None.

    Raises ConfigError for texts of another form, and for a field that is given in both ways.
    """
    changes: dict[str, object] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise ConfigError(f"--set {setting}: expected NAME=VALUE, such as training.ema.decay=0.99")
        try:
            changes[name] = json.loads(value)
        except json.JSONDecodeError:
            changes[name] = value
    given = {name: value for name, value in (named or {}).items() if value is not None}
    twice = sorted(given.keys() & changes.keys())
    if twice:
        raise ConfigError(f"{twice[0]} is given by --set and by its own option; give it once")
    return changes | given


def run_session(config: RunConfig, inputs: Inputs, ending: Ending, *, device: str) -> None:
    """Train until the end, the time limit or a signal, then write the final weights and the leg."""
    _log_to_terminal()
    fabric = make_fabric(config.training.execution, device)
    _train(fabric, config, inputs, ending)
    leave_group(fabric)


def _train(fabric: Fabric, config: RunConfig, inputs: Inputs, ending: Ending) -> None:
    with memory_told(config.training), _stop_signals() as asked, _display(fabric) as report:
        run = assemble(fabric, config, replace(inputs, stop=_stopper(asked, ending), report=report))
        with nothing_left(run):
            outcome = train(run)
    if fabric.is_global_zero:
        _finish(run, config, outcome, ending)


@contextmanager
def compiled_kernels(cache: Path | None) -> Iterator[None]:
    """Compiled kernels from an earlier run's file, and written back at the end: for machines that keep nothing.

    The file is code: use only one that you wrote.
    """
    if cache is not None and cache.is_file():
        torch.compiler.load_cache_artifacts(cache.read_bytes())
    yield
    if cache is None or os.environ.get("RANK", "0") != "0":
        return
    artifacts = torch.compiler.save_cache_artifacts()
    if artifacts is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as partial:
            partial.write_bytes(artifacts[0])
        say(f"{cache}: compiled kernels, {len(artifacts[0]) / 2**20:.1f} MiB")


def _finish(run: Run, config: RunConfig, outcome: Outcome, ending: Ending) -> None:
    state = run.steps.state
    weights = run.folder / "weights"
    note = f"averaged weights after {outcome.iteration} iterations, {state.counters.samples} pairs"
    save_weights(state.ema.model, weights, dtype=torch.float16 if ending.half else None, notes=(note,))
    if ending.leg is not None:
        size = export_leg(state, ending.leg, data=run.pairs.state_dict())
        (ending.leg / "config.json").write_text(to_json(config), encoding="utf-8")
        say(f"{ending.leg}: warm-restart state, {size / 2**20:.1f} MiB")
    best = f", best validation PSNR {state.counters.best_psnr:.2f} dB" if state.counters.best_psnr else ""
    left = "" if outcome.reason == "finished" else f" of {config.training.iterations}: go on with --resume"
    say(f"{weights}: {outcome.reason} at iteration {outcome.iteration}{left}{best}; state in {outcome.checkpoint}")


def _stopper(asked: list[int], ending: Ending) -> Callable[[], bool]:
    """Whether a signal came or the time, counted from the start of the program, is up."""
    limit = None if ending.max_minutes is None else _BEGUN + 60 * ending.max_minutes

    def stop() -> bool:
        return bool(asked) or (limit is not None and time.monotonic() > limit)

    return stop


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """The first signal asks for a checkpoint and a clean end: Ctrl-C, termination, SIGUSR1 or, unless it is ignored, a
    closed terminal, which tends to send several. Any other second one ends at once.
    """
    asked: list[int] = []
    named = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"))
    hangup = getattr(signal, "SIGHUP", None)
    kinds = [kind for kind in named if kind and not (kind == hangup and signal.getsignal(kind) is signal.SIG_IGN)]

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        if asked:
            if number == hangup:
                return
            raise KeyboardInterrupt
        asked.append(number)
        remark("stopping: saving a checkpoint first (once more: stop at once)", style="yellow")

    before = {kind: signal.signal(kind, on_signal) for kind in kinds}
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@contextmanager
def _display(fabric: Fabric) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line a window elsewhere; nothing on other processes."""
    if not fabric.is_global_zero:
        yield lambda _: None
        return
    if not remarks().is_terminal:
        yield lambda progress: remark(f"iteration {progress.iteration}/{progress.iterations}  {_summary(progress)}")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[summary]}"))
    with Bar(*columns, console=remarks()) as bar:
        task = bar.add_task("starting", total=None, summary="")

        def show(progress: Progress) -> None:
            described = f"{progress.iteration}/{progress.iterations}"
            done, total = progress.iteration, progress.iterations
            bar.update(task, completed=done, total=total, description=described, summary=_summary(progress))

        yield show


def _summary(progress: Progress) -> str:
    left = timedelta(seconds=round(progress.seconds_left))
    terms = "  ".join(f"{name} {progress.terms[name]:.4g}" for name in _SHOWN if name in progress.terms)
    return f"{progress.samples_per_second:.1f} samples/s  {left} left  {terms}"


def _log_to_terminal() -> None:
    """Notes of the rooms below, from process 0."""
    kind: Literal["INFO", "ERROR"] = "INFO" if os.environ.get("RANK", "0") == "0" else "ERROR"
    handler = RichHandler(console=remarks(), show_path=False, show_time=False)
    logging.basicConfig(level="WARNING", format="%(message)s", handlers=[handler])
    logging.getLogger("synhead").setLevel(kind)
