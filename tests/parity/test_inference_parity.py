"""The model reproduces the published implementation's outputs, stage by stage (float32, CPU)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from einops import rearrange

from synhead.weights import checkpoint, official

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def test_every_stage_matches_the_reference(model, pair, close):
    source_image, driving_image = pair
    with torch.no_grad():
        source = model.observe(source_image)
        driving = model.keypoint_detector(driving_image)
        animation = model.animate(source, driving)
    for name, keypoints in (("source", source.keypoints), ("driving", driving)):
        close(f"keypoints_{name}.value", keypoints.position, absolute=1e-4)
        close(f"keypoints_{name}.jacobian", keypoints.jacobian, absolute=1e-4)
    close("mask", animation.coarse.masks, absolute=1e-4)
    close("flow0", animation.coarse.motion.grid, absolute=1e-4)
    close("occlusion0", animation.coarse.motion.visibility, absolute=1e-4)
    for i, trace in enumerate(animation.traces, start=1):
        residual = rearrange(trace.residual_px / 31.5, "b xy h w -> b h w xy")
        close(f"scale{i}.flow", trace.motion.grid, absolute=1e-4)
        close(f"scale{i}.flow_residual", residual, absolute=1e-4)
        close(f"scale{i}.occlusion", trace.motion.visibility, absolute=1e-4)
        close(f"scale{i}.warped", trace.warped, relative=2e-3)
        close(f"scale{i}.compensated", trace.compensated, relative=2e-3)
    close("output", animation.image, absolute=2e-3, mean=1e-4)


def test_converted_and_converted_back_is_bit_identical(converted, fill, tmp_path):
    generator, motion = tmp_path / "net_g.pth", tmp_path / "net_motion_estimator.pth"
    official.export(converted, generator, motion)
    for path, network in ((generator, "generator"), (motion, "motion_estimator")):
        reference = fill.state_dict(network, 1)
        found = official.read_pth(path, ("params_ema", "params"))
        assert list(found) == list(reference), "names or their order changed"
        for name, array in reference.items():
            assert found[name].numpy().tobytes() == array.tobytes(), name


def test_counts_are_the_published_ones(converted):
    model = checkpoint.load(converted)
    assert sum(p.numel() for p in model.generator_parameters()) == 30_118_854
    assert sum(p.numel() for p in model.motion_estimator_parameters()) == 52_054_701


def test_the_inventory_maps_both_ways(model, fill):
    for network in ("generator", "motion_estimator"):
        mapped = official.name_map(model.config, network)
        assert set(mapped) == set(fill.state_dict(network, 1))
        assert len(set(mapped.values())) == len(mapped)
    both = {*official.name_map(model.config, "generator").values()}
    both |= {*official.name_map(model.config, "motion_estimator").values()}
    assert both == set(model.state_dict())
    assert np.isfinite([float(p.abs().max()) for p in model.parameters()]).all()
