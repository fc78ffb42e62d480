"""Finds the reference outputs (SYNHEAD_PARITY or ../shared/parity beside the repository) and makes the weights."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from synhead.model.talking_head import TalkingHead
from synhead.weights import checkpoint, official

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SYNHEAD_PARITY", ROOT.parent / "shared" / "parity"))
SEED = 1


def to_tensors(arrays):
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


@pytest.fixture(scope="session")
def fill() -> ModuleType:
    if not (FOLDER / "fill.py").is_file():
        pytest.skip("no reference outputs: set SYNHEAD_PARITY to the folder with fill.py")
    spec = importlib.util.spec_from_file_location("fill", FOLDER / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def expected(fill):
    with np.load(FOLDER / f"expected_seed{SEED}.npz") as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="session")
def published(fill, tmp_path_factory) -> SimpleNamespace:
    """The reference weights as the authors would publish them: two .pth files."""
    folder = tmp_path_factory.mktemp("published")
    generator = to_tensors(fill.state_dict("generator", SEED))
    files = SimpleNamespace(net_g=folder / "net_g.pth", net_motion=folder / "net_motion_estimator.pth")
    # "params" differs on purpose: the EMA weights are the ones to use.
    torch.save({"params": {k: v + 1 for k, v in generator.items()}, "params_ema": generator}, files.net_g)
    motion = {f"module.{k}": v for k, v in to_tensors(fill.state_dict("motion_estimator", SEED)).items()}
    torch.save({"params": motion}, files.net_motion)
    return files


@pytest.fixture(scope="session")
def converted(published, tmp_path_factory) -> Path:
    return official.convert(published.net_g, published.net_motion, tmp_path_factory.mktemp("converted") / "paper")


@pytest.fixture
def model(converted) -> TalkingHead:
    return checkpoint.load(converted)


@pytest.fixture(scope="session")
def pair(fill):
    images = torch.from_numpy(fill.images(4, SEED))
    return images[:2], 0.6 * images[:2] + 0.4 * images[2:]


@pytest.fixture
def close(expected):
    """Compare with a reference entry, strided as it is stored (parity README)."""

    def compare(name, found, *, absolute=None, relative=None, mean=None):
        want, have = expected[name], found.detach().numpy()
        if have.shape != want.shape:
            have = have[:, ::4, 3::8, 5::8]
        assert have.shape == want.shape, name
        difference = np.abs(have - want)
        if absolute is not None:
            assert difference.max() <= absolute, f"{name}: {difference.max():.2e} > {absolute:.0e}"
        if relative is not None:
            error = np.linalg.norm(have - want) / np.linalg.norm(want)
            assert error <= relative, f"{name}: relative {error:.2e} > {relative:.0e}"
        if mean is not None:
            assert difference.mean() <= mean, f"{name}: mean {difference.mean():.2e} > {mean:.0e}"

    return compare
