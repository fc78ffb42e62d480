"""What happens every so many iterations: figures, pictures, validation, checkpoints, and the reasons to stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from synhead.training.checkpoint import Snapshot
from synhead.training.consensus import Consensus, Verdict
from synhead.training.meters import Meters
from synhead.training.pictures import picture
from synhead.training.run import NonFiniteError, Progress, Run
from synhead.training.state import require_finite, snapshot
from synhead.training.step import Micro
from synhead.training.validation import ValidationReport, validate
from synhead.weights.checkpoint import save as save_weights

_PICTURED = 4


class Events:
    """Things the loop does now and then. All processes must call each of them in the same iteration."""

    def __init__(self, run: Run, consensus: Consensus, meters: Meters) -> None:
        self._run = run
        self._state = run.steps.state
        self._fabric = run.steps.fabric
        self._consensus = consensus
        self._meters = meters
        self._saved: tuple[int, Path] | None = None

    def log(self) -> None:
        """Read the window's figures; trackers and the display get them on process 0."""
        figures = self._meters.read()
        figures["rate"] = self._state.generator_optimizer.param_groups[0]["lr"]
        figures["samples"] = float(self._state.counters.samples)
        if not self._fabric.is_global_zero:
            return
        self._run.trackers.scalars(self._state.counters.iteration, figures)
        self._run.report(self._progress(figures))

    def picture(self, micro: Micro) -> None:
        """One picture of the averaged weights on the first training pairs; process 0 only."""
        if not (self._fabric.is_global_zero and self._run.trackers.active):
            return
        started = time.perf_counter()
        with self._fabric.autocast():
            shown = picture(self._state.ema.model, micro.source_image[:_PICTURED], micro.driving_image[:_PICTURED])
        self._run.trackers.image(self._state.counters.iteration, "training", shown)
        self._meters.exclude(time.perf_counter() - started)

    def validate(self) -> ValidationReport | None:
        """PSNR and L1 of the averaged weights; None without validation pairs."""
        if self._run.validation is None:
            return None
        started = time.perf_counter()
        report = validate(self._fabric, self._state.ema.model, self._run.validation())
        if self._fabric.is_global_zero:
            figures = {"validation/psnr": report.psnr, "validation/l1": report.l1}
            self._run.trackers.scalars(self._state.counters.iteration, figures)
            self._keep_best(report)
        self._meters.exclude(time.perf_counter() - started)
        return report

    def save(self) -> Path:
        """A checkpoint of this moment, if there is none yet. Raises NonFiniteError rather than save a bad state."""
        iteration = self._state.counters.iteration
        if self._saved is not None and self._saved[0] == iteration:
            return self._saved[1]
        started = time.perf_counter()
        self._require_finite(self._consensus.settle(stop=False))
        codes = self._run.restarts.tensors()
        path = self._run.checkpoints.path(iteration)
        if self._fabric.is_global_zero:
            exact = snapshot(self._state)
            tensors = {**exact.tensors, "codes": codes} if codes else exact.tensors
            scalars = {**exact.scalars, "data": self._run.pairs.state_dict()}
            self._run.checkpoints.save(iteration, Snapshot(tensors=tensors, scalars=scalars))
        self._fabric.barrier()
        self._saved = (iteration, path)
        self._meters.exclude(time.perf_counter() - started)
        return path

    def keep_weights(self) -> None:
        """The averaged weights of this moment, beside the run's final ones. Raises NonFiniteError."""
        started = time.perf_counter()
        self._require_finite(self._consensus.settle(stop=False))
        if not self._fabric.is_global_zero:
            return
        self._save_weights(f"weights-{self._state.counters.iteration}", "")
        self._meters.exclude(time.perf_counter() - started)

    def asked_to_stop(self) -> bool:
        """Whether any process was asked to stop. Raises NonFiniteError."""
        verdict = self._consensus.read(stop=self._run.stop())
        self._require_finite(verdict)
        return verdict.stop

    def _keep_best(self, report: ValidationReport) -> None:
        """The averaged weights of the best validation, as a checkpoint that inference can load."""
        counters = self._state.counters
        if not report.psnr > counters.best_psnr:  # of weights that are no numbers the PSNR is none either
            return
        counters.best_psnr = report.psnr
        self._save_weights("best", f", validation PSNR {report.psnr:.2f} dB")

    def _save_weights(self, name: str, remark: str) -> None:
        counters = self._state.counters
        note = f"iteration {counters.iteration}, {counters.samples} pairs{remark}"
        require_finite({name: self._state.ema.model.state_dict()})
        save_weights(self._state.ema.model, self._run.folder / name, notes=(note,))

    def _require_finite(self, verdict: Verdict) -> None:
        if verdict.first_bad is None:
            return
        good = self._run.checkpoints.latest()
        kept = f"the last good state is {good}; resume" if good else "no checkpoint had been written yet; start again"
        raise NonFiniteError(
            f"a loss was NaN or infinite at iteration {verdict.first_bad}: stopped, nothing saved, {kept} "
            "with a lower --rate, with --set training.gradient_norm=10, or with --precision fp32"
        )

    def _progress(self, figures: Mapping[str, float]) -> Progress:
        counters, speed = self._state.counters, figures["speed/samples_per_second"]
        left = self._run.config.iterations - counters.iteration
        samples = self._run.config.batch * self._run.config.accumulate * self._fabric.world_size
        return Progress(
            iteration=counters.iteration,
            iterations=self._run.config.iterations,
            samples_per_second=speed,
            seconds_left=left * samples / speed if speed else 0.0,
            terms={name.removeprefix("loss/"): v for name, v in figures.items() if name.startswith("loss/")},
        )
