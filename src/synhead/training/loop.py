"""The training run as one linear story, top to bottom in the order of execution."""

from __future__ import annotations

import time

from torch import Tensor

from synhead.data.pairs import PairBatch
from synhead.losses.regions import FacePoints
from synhead.training.consensus import Consensus
from synhead.training.events import Events
from synhead.training.meters import Meters
from synhead.training.randomness import exposures_for, warps_for
from synhead.training.run import Outcome, Run, StopReason
from synhead.training.state import set_rate
from synhead.training.step import Micro
from synhead.training.validation import ValidationReport


def train(run: Run) -> Outcome:
    """Train until the last iteration, or until the run is asked to stop; always ends with a checkpoint.

    Raises:
        NonFiniteError: a loss was NaN or infinite. Nothing is saved; the last good checkpoint stays.
        CheckpointError: a checkpoint could not be written; earlier ones are intact.
    """
    config, steps, every = run.config, run.steps, run.config.every
    counters, fabric = steps.state.counters, steps.fabric
    consensus, meters = Consensus(fabric), Meters(fabric, steps.state.model.config)
    events = Events(run, consensus, meters)
    started, before = time.monotonic(), counters.seconds
    validation: ValidationReport | None = None
    reason: StopReason = "finished"

    while counters.iteration < config.iterations:
        iteration = counters.iteration + 1
        adversarial = run.losses.adversarial_active(iteration)
        set_rates(run, iteration)
        batch = draw_batch(run, iteration)
        generated = steps.generator_step(batch, adversarial=adversarial)
        images = [result.image for result in generated]
        judged = steps.discriminator_step(batch, images) if adversarial else []
        run.restarts.update(iteration, generated)

        counters.iteration = iteration
        counters.samples += len(batch) * config.batch * fabric.world_size
        counters.seconds = before + time.monotonic() - started
        consensus.watch(iteration, *(result.total for result in generated), *(result.total for result in judged))
        meters.update(generated, judged)

        if iteration % every.log == 0:
            events.log()
        if every.image and iteration % every.image == 0:
            events.picture(batch[0])
        if every.validate and iteration % every.validate == 0:
            validation = events.validate() or validation
        if iteration % every.checkpoint == 0:
            events.save()
        if every.weights and iteration % every.weights == 0:
            events.keep_weights()
        if iteration % every.check == 0 and events.asked_to_stop():
            reason = "stopped"
            break

    return Outcome(reason=reason, iteration=counters.iteration, checkpoint=events.save(), validation=validation)


def set_rates(run: Run, iteration: int) -> None:
    """Learning rates of an iteration: a pure function of it, so that schedules need no state."""
    config, state = run.config.optimizer, run.steps.state
    rate = config.rate_at(iteration, last=run.config.iterations, restarted_at=state.counters.restarted_at)
    set_rate(state.generator_optimizer, rate)
    set_rate(state.discriminator_optimizer, rate * config.discriminator_factor)


def draw_batch(run: Run, iteration: int) -> list[Micro]:
    """This process's micro batches of an iteration, rows of one global batch whatever the number of processes."""
    fabric, size = run.steps.fabric, run.config.batch
    wide = size * fabric.world_size
    total = wide * run.config.accumulate
    batch = []
    for micro in range(run.config.accumulate):
        first = micro * wide + fabric.global_rank * size
        warp = warps_for(run.config.seed, iteration, slice(first, first + size), total, fabric.device)
        pair = run.pairs.next_batch(size)
        exposure = exposures(run, iteration, slice(first, first + size), total)
        batch.append(Micro(pair.source, pair.driving, warp, face_points(pair), exposure))
    return batch


def exposures(run: Run, iteration: int, rows: slice, total: int) -> Tensor | None:
    """Of the warped views, if they are to differ from the driving images in brightness."""
    if not run.losses.exposure_spread:
        return None
    found = exposures_for(run.config.seed, iteration, rows, total, run.losses.exposure_spread)
    return found.to(run.steps.fabric.device, non_blocking=True)


def face_points(pair: PairBatch) -> FacePoints | None:
    """Landmarks of a batch, if its source of pairs has them."""
    if pair.source_points is None or pair.driving_points is None:
        return None
    return FacePoints(source=pair.source_points, driving=pair.driving_points)
