"""Putting a run together: from a configuration and some paths to everything that the loop needs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lightning_fabric import Fabric

from synhead.config import ConfigError, from_json, to_json
from synhead.data.dataset import LoadOptions, load_validation, open_pairs
from synhead.data.files import replacing
from synhead.data.pairs import BatchFormat, PairSource, Share, validation_clips
from synhead.data.records import DataError
from synhead.losses.objective import GeneratorObjective
from synhead.losses.perceptual import build_perceptual
from synhead.training.checkpoint import CheckpointFolder, read
from synhead.training.config import RunConfig
from synhead.training.leg import read_leg, restore_leg
from synhead.training.restarts import CodeRestarts
from synhead.training.run import Progress, Run, never, silent
from synhead.training.state import TrainingState, build, restore
from synhead.training.step import make_steps
from synhead.training.tracking import TrackerName, Trackers, open_trackers
from synhead.training.validation import ImagePair, ValidationPairs
from synhead.types import FacePoint
from synhead.weights.checkpoint import load

CONFIG_FILE = "config.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run takes from outside its configuration.

    ``folder``: of the run. ``data``: training clips. ``validation``: held-out clips; None: the ``val`` split of
    ``data`` if it has one. ``cache``: decoded frames. ``perceptual``: file or folder of the perceptual network.
    ``landmarks``: of the training clips, for the terms that need them.
    ``resume``: go on from the folder's last checkpoint, if there is one. ``warm_start``: a leg to start from otherwise;
    ``init``: a checkpoint folder whose weights to start from otherwise.
    """

    folder: Path
    data: str
    validation: str | None = None
    cache: Path | None = None
    perceptual: Path | None = None
    landmarks: Path | None = None
    resume: bool = False
    warm_start: Path | None = None
    init: Path | None = None
    trackers: tuple[TrackerName, ...] = ("tensorboard",)
    stop: Callable[[], bool] = never
    report: Callable[[Progress], None] = silent


def saved_config(folder: Path) -> RunConfig | None:
    """The configuration of an existing run; None for a new one. Raises ConfigError if it cannot be read."""
    path = folder / CONFIG_FILE
    return from_json(RunConfig, path.read_text(encoding="utf-8")) if path.is_file() else None


def assemble(fabric: Fabric, config: RunConfig, inputs: Inputs) -> Run:
    """Networks, data, checkpoints and trackers of a run, restored if it goes on. Where it raises, no run was begun, and
    one that was there is as it was.

    Raises:
        ConfigError: the run's folder is in use, or of another model.
        DataError: no clips, or none that can be read.
        CheckpointError: a checkpoint or leg that cannot be read or does not fit.
        PerceptualWeightsError: the perceptual network's file is missing.
    """
    if config.losses.needs_landmarks and inputs.landmarks is None:
        raise ConfigError("the losses that landmarks lead need --landmarks FILE: see docs/training.md")
    if config.losses.weights.openings and config.model.keypoints.count < len(FacePoint):
        raise ConfigError(f"losses.weights.openings needs a model of at least {len(FacePoint)} keypoints")
    check_folder(config, inputs)
    objective = GeneratorObjective(config.losses, build_perceptual(config.losses, weights=inputs.perceptual))
    share = Share(rank=fabric.global_rank, world_size=fabric.world_size)
    form = BatchFormat(device=fabric.device, channels_last=config.training.execution.channels_last)
    load = LoadOptions(cache=inputs.cache, points=inputs.landmarks)
    pairs = open_pairs(inputs.data, config.data, seed=config.training.seed, share=share, form=form, options=load)
    state = build(config.model, config.training, fabric.device)
    restarts = CodeRestarts(fabric, state, config.training)
    checkpoints = CheckpointFolder(inputs.folder / "checkpoints", keep=config.training.keep_checkpoints)
    _start(inputs, checkpoints, state, restarts, pairs)
    steps = make_steps(fabric, state, objective, config.training)
    validation = _validation(config, inputs, share, form) if config.training.every.validate else None
    trackers, begun = _claim_folder(fabric, config, inputs, after=state.counters.iteration)
    return Run(
        config=config.training,
        losses=config.losses,
        steps=steps,
        restarts=restarts,
        pairs=pairs,
        folder=inputs.folder,
        checkpoints=checkpoints,
        trackers=trackers,
        validation=validation,
        stop=inputs.stop,
        report=inputs.report,
        begun=begun,
    )


def check_folder(config: RunConfig, inputs: Inputs) -> None:
    """Refuse to mix runs. Raises ConfigError."""
    found = saved_config(inputs.folder)
    if found is not None and not inputs.resume:
        raise ConfigError(f"{inputs.folder} holds a run: go on with --resume, or choose another --name")
    if found is not None and found.model != config.model:
        raise ConfigError(f"{inputs.folder} trains another model ({found.model.name}): choose another --name")


def _claim_folder(fabric: Fabric, config: RunConfig, inputs: Inputs, *, after: int) -> tuple[Trackers, tuple[str, ...]]:
    """The trackers, and ``config.json``, by which a folder holds a run: last, so that a start that failed takes no name
    and changes no run. ``after``: iteration from which the run goes on. And what that wrote, of a new run.
    """
    fabric.barrier()  # every process has built all else
    if not fabric.is_global_zero:
        return Trackers(()), ()
    check_folder(config, inputs)  # again: decoding takes minutes, in which another start may have taken the name
    before = _names(inputs.folder)
    trackers = open_trackers(inputs.folder, inputs.trackers, after=after)
    with replacing(inputs.folder / CONFIG_FILE) as temporary:
        temporary.write_text(to_json(config), encoding="utf-8")
    CheckpointFolder(inputs.folder / "checkpoints", keep=1).clean()
    new = _names(inputs.folder) - before
    return trackers, (*sorted(new - {CONFIG_FILE}), CONFIG_FILE) if CONFIG_FILE in new else ()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _start(
    inputs: Inputs, checkpoints: CheckpointFolder, state: TrainingState, restarts: CodeRestarts, pairs: PairSource
) -> None:
    """From the last checkpoint, a leg, a checkpoint's weights, or from nothing."""
    latest = checkpoints.latest() if inputs.resume else None
    if latest is not None:
        saved = read(latest)
        restore(state, saved)
        restarts.load(saved.tensors.get("codes", {}))
        pairs.load_state_dict(saved.scalars["data"])
        _log.info("going on from %s", latest)
    elif inputs.warm_start is not None:
        saved = read_leg(inputs.warm_start)
        restore_leg(state, saved)
        pairs.load_state_dict(saved.scalars["data"])
        _log.info("warm start from %s, iteration %d", inputs.warm_start, state.counters.iteration)
    elif inputs.init is not None:
        weights = load(inputs.init).state_dict()
        state.model.load_state_dict(weights)
        state.ema.model.load_state_dict(weights)
        _log.info("weights of %s, iteration 0", inputs.init)
    elif inputs.resume:
        _log.warning("%s has no checkpoint yet: starting from the beginning", inputs.folder)


def _validation(config: RunConfig, inputs: Inputs, share: Share, form: BatchFormat) -> ValidationPairs | None:
    """This process's share of the held-out clips, each clip's first frame against ten later ones."""
    try:
        store = load_validation(inputs.validation or inputs.data, config.data, LoadOptions(cache=inputs.cache))
    except DataError as error:
        if inputs.validation is not None:
            raise
        _log.warning("no validation: %s; or name held-out clips with --val", error)
        return None

    def pairs() -> Iterator[ImagePair]:
        yield from islice(validation_clips(store, form=form), share.rank, None, share.world_size)

    return pairs
