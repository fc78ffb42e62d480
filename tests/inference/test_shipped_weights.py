"""docs/speed.md's bounds with the weights that ship: a photograph, moved by a template of the examples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synhead.data.image import fit_image
from synhead.inference.engine import EagerEngine, Engine
from synhead.inference.fast import FastEngine
from synhead.inference.fingerprint import fingerprint
from synhead.inference.keypoint_stream import rows
from synhead.inference.motion_transfer import transfer_motion
from synhead.inference.template_file import read_template
from synhead.model.talking_head import TalkingHead
from synhead.nn.native import Kernels
from synhead.types import Keypoints
from synhead.weights import checkpoint

ROOT = Path(__file__).parents[2]
MOMENTS = (20, 45)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base() -> TalkingHead:
    return checkpoint.load(ROOT / "weights" / "base").eval()


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    photograph = pytest.importorskip("skimage.data").astronaut()
    return fit_image(np.ascontiguousarray(photograph[8:208, 124:324]), 256)


@pytest.fixture(scope="module")
def motion(base: TalkingHead) -> Keypoints:
    template = read_template(ROOT / "examples" / "templates" / "short.safetensors")
    template.check_model(fingerprint(base))
    return rows(template.keypoints, 0, len(template))


def drawn(engine: Engine, face: np.ndarray, motion: Keypoints) -> np.ndarray:
    source = engine.observe(face)
    chosen = Keypoints(position=motion.position[list(MOMENTS)], jacobian=motion.jacobian[list(MOMENTS)])
    return engine.render(source, transfer_motion(source.keypoints, chosen, rows(motion, 0, 1))).astype(int)


@pytest.fixture(scope="module")
def exact(base: TalkingHead, face: np.ndarray, motion: Keypoints) -> np.ndarray:
    wanted = drawn(EagerEngine(base), face, motion)
    assert np.abs(wanted[0] - wanted[1]).mean() > 2, "the head moves, or this shows little"
    assert wanted.std() > 20
    return wanted


def test_fp32_engines_are_within_a_level(base, face, motion, exact, kernels: Kernels):
    for engine in (FastEngine(base), FastEngine(base, kernels=kernels)):
        assert np.abs(drawn(engine, face, motion) - exact).max() <= 1, engine.name


def test_bf16_engines_are_within_a_level_on_average(base, face, motion, exact, kernels: Kernels):
    for engine in (FastEngine(base, precision="bf16"), FastEngine(base, precision="bf16", kernels=kernels)):
        off = np.abs(drawn(engine, face, motion) - exact)
        assert 0 < off.mean() <= 1, engine.name  # 0 would be fp32 by another name
