"""What ``synhead evaluate`` and ``synhead score`` share: planning, measuring with progress, and writing the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import torch

from synhead.app.console import remark, remarks, say
from synhead.app.models import LoadedModel, ModelChoice, load
from synhead.app.progress import FrameProgress
from synhead.config import ConfigError
from synhead.data.clips import Clip, DataError, Skipped, Split, open_clips
from synhead.evaluation.contact_sheet import write_contact_sheet
from synhead.evaluation.folders import list_videos, reference_trials, save_pictures
from synhead.evaluation.gauges.gauge import Frames
from synhead.evaluation.metrics import applicable
from synhead.evaluation.page import Pictures, write_page
from synhead.evaluation.protocols import (
    Sampling,
    default_pairs,
    expected_frames,
    read_pairs,
    read_video_list,
    reconstruction,
    reenactment,
    select,
)
from synhead.evaluation.published import published_rows, published_tables
from synhead.evaluation.renderers import CoarseWarpRenderer, ModelRenderer, copy_source
from synhead.evaluation.report import Protocol, Report, Row, installed_versions, write_report
from synhead.evaluation.scoring import Observers, score_systems
from synhead.evaluation.systems import CommandSystem, FolderSystem, RenderedSystem, System
from synhead.evaluation.table import markdown_tables
from synhead.evaluation.table import remarks as left_out
from synhead.evaluation.toolbox import open_gauges
from synhead.evaluation.trials import Trial
from synhead.evaluation.weight_files import WeightFolder
from synhead.inference.animator import select_device
from synhead.weights import hub
from synhead.weights.checkpoint import WEIGHTS_FILE
from synhead.weights.hub import file_sha256

ABSOLUTE = "Same identity: the first frame of a clip is the source, keypoints are absolute."
RELATIVE = "Across identities: keypoints move as the driver's move away from a reference frame, sizes adapted."
GIVEN = "Videos against the references of their names."
LINE_EVERY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which clips and frames; see ``synhead evaluate``."""

    data: str
    split: Split
    protocol: Literal["reconstruction", "reenactment"]
    videos: Path | None
    pairs: Path | None
    frames: int | None
    own: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """How the model runs."""

    device: str
    precision: Literal["fp32", "bf16"]
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Other systems by name: folders of their results, commands that make them."""

    folders: Mapping[str, str]
    commands: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will be measured. ``frames``: expected, over all systems."""

    protocol: Protocol
    trials: Iterable[Trial | Skipped]
    systems: tuple[System, ...]
    frames: int | None
    weights: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    inputs: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """With what it is measured."""

    weights: Path | None
    download: bool
    metrics: str | None
    device: str
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What is written, and which published tables stand beside it."""

    folder: Path
    frames: Path | None
    pictures: int
    published: tuple[str, ...]


def named(texts: Sequence[str] | None) -> dict[str, str]:
    """``NAME=VALUE`` texts. Raises ConfigError."""
    found = {}
    for text in texts or ():
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise ConfigError(f"{text!r}: expected NAME=VALUE, such as FOMM=results/fomm")
        if Path(name).name != name or name == "..":
            raise ConfigError(f"{text!r}: {name} names a folder of its results; give a name without / and ..")
        found[name] = value
    return found


def plan_protocol(wish: Wish, choice: ModelChoice, machine: Machine, rivals: Rivals, out: Path) -> Plan:
    """Trials of a protocol for the model, its two yardsticks and rivals."""
    if wish.pairs is not None and wish.protocol == "reconstruction":
        raise ConfigError("--pairs needs --protocol reenactment; --videos lists clips to reconstruct")
    model, digest = _load(choice, machine)
    sampling = Sampling(frames=wish.frames, size=model.model.config.image_size)
    found = open_clips(wish.data, wish.split)
    clips = select(found.clips, read_video_list(wish.videos)) if wish.videos else tuple(found.clips)
    present = tuple(clip for clip in clips if isinstance(clip, Clip))
    if wish.protocol == "reconstruction":
        trials, frames, count = reconstruction(clips, sampling), expected_frames(clips, sampling), len(clips)
    else:
        pairs = read_pairs(wish.pairs) if wish.pairs else default_pairs(present)
        if not pairs:
            raise DataError(f"{wish.data}: no two clips of different people to pair; name pairs with --pairs")
        known = {clip.name: clip for clip in present}
        trials, count = reenactment(pairs, present, sampling), len(pairs)
        frames = expected_frames([known[pair.driving] for pair in pairs if pair.driving in known], sampling)
    folders = [FolderSystem(name, Path(folder), sampling.size) for name, folder in rivals.folders.items()]
    commands = [
        CommandSystem(name, words, out / "rivals" / name, sampling.size) for name, words in rivals.commands.items()
    ]
    systems = (*_own_systems(model, machine, wish.own), *folders, *commands)
    _require_distinct(systems)
    return Plan(
        protocol=Protocol(
            name=wish.protocol,
            description=ABSOLUTE if wish.protocol == "reconstruction" else RELATIVE,
            frames=wish.frames,
            size=sampling.size,
            videos=count,
        ),
        trials=trials,
        systems=systems,
        frames=frames * len(systems),
        weights=digest,
        notes=() if model.trained else (f"the weights of {model.name} are UNTRAINED",),
        inputs=found.skipped,
    )


def plan_score(name: str, generated: Path, reference: Path, source: Path | None, size: int | None) -> Plan:
    """Videos of a folder against references; those without one are told."""
    references, results = list_videos(reference), list_videos(generated)
    extra = tuple(Skipped(video, "a result without a reference of its name") for video in results.keys() - references)
    return Plan(
        protocol=Protocol(name="score", description=GIVEN, frames=None, size=size, videos=len(references)),
        trials=reference_trials(references, source, size),
        systems=(FolderSystem(name, generated, size),),
        frames=None,
        inputs=tuple(sorted(extra, key=lambda one: one.name)),
    )


def run(plan: Plan, tools: Tools, output: Output) -> None:
    """Measure, write the report and the page, print the table."""
    unknown = [name for name in output.published if name not in published_tables()]
    if unknown:
        raise ConfigError(f"no published table {unknown[0]}; choose from {', '.join(published_tables())}")
    output.folder.mkdir(parents=True, exist_ok=True)
    weights = WeightFolder(tools.weights, download=tools.download)
    possible = applicable(same_identity=plan.protocol.name != "reenactment")
    wanted = _wanted([one.id for one in possible], tools.metrics)
    pictures = Pictures(output.pictures)

    def keep(trial: Trial, system: System, frames: Frames) -> None:
        pictures.keep(trial, system, frames)
        if output.frames is not None:
            save_pictures(output.frames / system.name / trial.name, frames)

    with (
        open_gauges(wanted, weights, select_device(tools.device), workers=tools.workers) as toolbox,
        FrameProgress("measuring") as progress,
    ):
        observers = Observers(progress=_teller(progress, plan.frames), result=keep)
        rows, unreadable = score_systems(plan.trials, plan.systems, toolbox.gauges, wanted, observers)
    _require_some(rows, (*plan.inputs, *unreadable))
    report = Report(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        protocol=plan.protocol,
        metrics=tuple(one for one in possible if one.id in wanted),
        needs=toolbox.unavailable,
        rows=rows,
        inputs=(*plan.inputs, *unreadable),
        weights={**plan.weights, **weights.used},
        versions=installed_versions(),
        notes=plan.notes,
    )
    published = tuple(row for name in output.published for row in published_rows(name))
    _write(replace(report, rows=(*rows, *published)), output, pictures)


def _require_some(rows: Sequence[Row], unreadable: Sequence[Skipped]) -> None:
    """Raises DataError if nothing at all was measured, instead of reporting it."""
    if not any(row.videos for row in rows):
        missing = [*unreadable, *(one for row in rows for one in row.problems)]
        why = f", such as {missing[0].name} ({missing[0].reason})" if missing else ""
        raise DataError(f"nothing could be measured{why}; no report is written")


def _teller(progress: FrameProgress, total: int | None) -> Callable[[int], None]:
    """A bar on a terminal, a line every so many frames elsewhere."""
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        progress.update(done, total)
        if not remarks().is_terminal and done - told >= LINE_EVERY:
            told = done
            remark(f"measured {done}{f' of {total}' if total else ''} frames")

    return tell


def _load(choice: ModelChoice, machine: Machine) -> tuple[LoadedModel, dict[str, str]]:
    """The model and the SHA-256 of its weights."""
    loaded = load(choice, device=select_device(machine.device))
    if choice.checkpoint is None:
        return loaded, {}
    return loaded, {f"{loaded.name}/{WEIGHTS_FILE}": file_sha256(hub.resolve(choice.checkpoint) / WEIGHTS_FILE)}


def _own_systems(loaded: LoadedModel, machine: Machine, chosen: str) -> tuple[System, ...]:
    """Those named in ``chosen``, a list with commas. Raises ConfigError."""
    precision = torch.bfloat16 if machine.precision == "bf16" else torch.float32
    model = ModelRenderer(loaded.model, machine.batch, precision)
    warp = CoarseWarpRenderer(loaded.model, machine.batch, precision)
    own = {
        "copy": RenderedSystem("copy", "the source, unmoved", lambda trial: copy_source(trial.source, trial.driving)),
        "warp": RenderedSystem("warp", f"the source warped by M^0 of {loaded.name}", warp.trial),
        "synhead": RenderedSystem("synhead", loaded.name, model.trial),
    }
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    if unknown := [name for name in names if name not in own]:
        raise ConfigError(f"--own {unknown[0]}: choose from {', '.join(own)}, or '' for none")
    return tuple(own[name] for name in names)


def _require_distinct(systems: Sequence[System]) -> None:
    if not systems:
        raise ConfigError("nothing to measure: leave --own out or name a --rival")
    names = [system.name for system in systems]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"two systems are called {twice[0]}; give each rival its own name")


def _write(report: Report, output: Output, pictures: Pictures) -> None:
    write_report(report, output.folder / "report.json")
    sheet = pictures.sheet()
    write_page(report, output.folder / "report.html", sheet)
    if sheet is None:
        (output.folder / "sheet.png").unlink(missing_ok=True)  # of an earlier run
    else:
        write_contact_sheet(sheet, output.folder / "sheet.png")
    say(markdown_tables(report))
    for line in left_out(report):
        remark(f"note: {line}")
    say(f"{output.folder / 'report.json'}, {output.folder / 'report.html'}")


def _wanted(possible: Sequence[str], named_metrics: str | None) -> tuple[str, ...]:
    if named_metrics is None:
        return tuple(possible)
    chosen = [name.strip() for name in named_metrics.split(",")]
    if unknown := [name for name in chosen if name not in possible]:
        raise ConfigError(f"no metric {unknown[0]} in this protocol; choose from {', '.join(possible)}")
    return tuple(name for name in possible if name in chosen)
