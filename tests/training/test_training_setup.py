"""Putting a run together: what a start leaves in the run's folder, whether it succeeds or not."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from lightning_fabric import Fabric
from training_factory import LOSSES, TRAINING, micro_model, write_clips

from synhead.config import ConfigError
from synhead.data.config import DataConfig
from synhead.data.errors import MediaError
from synhead.training import setup
from synhead.training.checkpoint import Snapshot
from synhead.training.config import RunConfig
from synhead.training.run import Run
from synhead.training.setup import Inputs, assemble, saved_config
from synhead.training.state import snapshot
from synhead.weights.errors import CheckpointError

EVERY = replace(TRAINING.every, validate=2)
CONFIG = RunConfig(
    model=micro_model(), training=replace(TRAINING, every=EVERY), losses=LOSSES, data=DataConfig(size=48)
)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(folder=tmp_path / "run", data=str(write_clips(tmp_path / "clips")), trackers=())


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def checkpoint(run: Run) -> None:
    """As the loop writes it."""
    exact = snapshot(run.steps.state)
    run.checkpoints.save(0, Snapshot(exact.tensors, {**exact.scalars, "data": run.pairs.state_dict()}))
    run.trackers.close()


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)


def test_a_failed_start_takes_no_name(fabric: Fabric, inputs: Inputs) -> None:
    for wrong in ({"data": "nowhere"}, {"validation": "nowhere"}, {"init": Path("nowhere")}):
        with pytest.raises((MediaError, CheckpointError), match="nowhere"):
            assemble(fabric, CONFIG, replace(inputs, **wrong))
        assert not inputs.folder.exists()
    with pytest.raises(ConfigError, match="pip install wandb"):
        assemble(fabric, CONFIG, replace(inputs, trackers=("wandb",)))
    assert saved_config(inputs.folder) is None
    assemble(fabric, CONFIG, inputs).trackers.close()
    assert saved_config(inputs.folder) == CONFIG
    with pytest.raises(ConfigError, match="holds a run: go on with --resume"):
        assemble(fabric, CONFIG, inputs)


def test_a_failed_resume_changes_nothing(fabric: Fabric, inputs: Inputs) -> None:
    checkpoint(assemble(fabric, CONFIG, inputs))
    (inputs.folder / "metrics.jsonl").write_text('{"iteration": 1}\n')
    before = contents(inputs.folder)
    again = replace(inputs, resume=True)
    wider = replace(CONFIG, training=replace(CONFIG.training, discriminator_width=8))
    with pytest.raises(CheckpointError, match="does not fit"):
        assemble(fabric, wider, again)
    with pytest.raises(MediaError, match="nowhere"):
        assemble(fabric, wider, replace(again, data="nowhere"))
    with pytest.raises(ConfigError, match="pip install wandb"):
        assemble(fabric, CONFIG, replace(again, trackers=("wandb",)))
    assert contents(inputs.folder) == before
    longer = replace(CONFIG, training=replace(CONFIG.training, iterations=9))
    run = assemble(fabric, longer, again)
    run.trackers.close()
    assert saved_config(inputs.folder) == longer


def test_a_name_taken_while_clips_are_decoded(fabric: Fabric, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two starts of one name, the one that is ready first has it; the other touches nothing of its run."""
    decode = setup.open_pairs

    def slowly(*given: object, **named: object) -> object:
        monkeypatch.setattr(setup, "open_pairs", decode)
        checkpoint(assemble(fabric, CONFIG, inputs))
        (inputs.folder / "metrics.jsonl").write_text('{"iteration": 1}\n')
        return decode(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(setup, "open_pairs", slowly)
    with pytest.raises(ConfigError, match="holds a run: go on with --resume"):
        assemble(fabric, CONFIG, inputs)
    assert (inputs.folder / "metrics.jsonl").read_text() == '{"iteration": 1}\n'
