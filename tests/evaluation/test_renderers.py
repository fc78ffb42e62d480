from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from einops import rearrange

from synhead.config import preset
from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.renderers import CoarseWarpRenderer, ModelRenderer, copy_source
from synhead.evaluation.scoring import score_systems
from synhead.evaluation.systems import RenderedSystem
from synhead.geometry.warp import warp
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.model.talking_head import TalkingHead


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TalkingHead(preset("tiny")).eval()


@pytest.fixture
def trial(make_trial):
    return make_trial(size=64, frames=5)


def test_shape_range_and_batches(model, trial):
    for renderer in (ModelRenderer(model, batch=2), CoarseWarpRenderer(model, batch=2)):
        pictures = renderer.trial(trial)
        assert pictures.shape == trial.driving.shape
        assert pictures.dtype == np.uint8
        np.testing.assert_allclose(pictures[4:], renderer(trial.source, trial.driving[4:]), atol=1)


def test_within_an_identity_keypoints_are_absolute(model, trial):
    animator = Animator(model, AnimatorOptions(motion="absolute"))
    animator.observe(trial.source)
    expected = np.stack(list(animator.animate(trial.driving)))
    np.testing.assert_allclose(ModelRenderer(model).trial(trial), expected, atol=1)


def test_across_identities_they_are_relative_to_the_reference(model, trial):
    cross = replace(trial, reference=trial.driving[3])
    animator = Animator(model, AnimatorOptions(motion="relative"))
    animator.observe(cross.source)
    expected = np.stack(list(animator.animate(cross.driving, reference=cross.reference)))
    found = ModelRenderer(model).trial(cross)
    np.testing.assert_allclose(found, expected, atol=1)
    assert np.abs(found.astype(int) - ModelRenderer(model).trial(trial)).max() > 1


def test_warp_is_by_the_coarse_flow_of_the_whole_model(model, trial):
    def image(frames):
        return rearrange(torch.from_numpy(frames), "n h w c -> n c h w").float() / 127.5 - 1

    with torch.inference_mode():
        observed = model.observe(image(trial.source[None]))
        grid = model.animate(observed, model.keypoint_detector(image(trial.driving))).coarse.motion.grid
        warped = warp(observed.image.expand(5, -1, -1, -1) + 1, grid)
    expected = rearrange(warped * 127.5, "n c h w -> n h w c").numpy()
    np.testing.assert_allclose(CoarseWarpRenderer(model).trial(trial), expected, atol=1)


def test_copies(trial):
    assert (copy_source(trial.source, trial.driving) == trial.source).all()


def test_pictures_that_are_no_numbers_are_not_measured(model, trial):
    """As levels they would be a black picture with a PSNR of its own."""
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.decoder.get_parameter("upsamples.0.conv.weight").fill_(float("nan"))
    system = RenderedSystem("broken", "by hand", ModelRenderer(broken).trial)
    (row,), _ = score_systems([trial], [system], (PixelGauge(),), ("psnr",))
    assert row.videos == ()
    assert [problem.reason for problem in row.problems] == [
        "the model's pictures are no numbers: measure in fp32, or give other weights"
    ]
