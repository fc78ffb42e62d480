from __future__ import annotations

import re

import pytest

from synhead.evaluation.metrics import ALL_METRICS, applicable, metric
from synhead.evaluation.toolbox import open_gauges
from synhead.evaluation.weight_files import WeightFolder


def test_ids_are_unique_and_found():
    assert len({one.id for one in ALL_METRICS}) == len(ALL_METRICS)
    assert metric("akd.published").definition != metric("akd.standard").definition
    with pytest.raises(KeyError):
        metric("akd")


def test_across_identities_there_is_no_truth_to_reconstruct():
    ids = {one.id for one in applicable(same_identity=False)}
    assert not ids & {"psnr", "l1", "ssim", "ms_ssim", "lpips", "fid.standard"}
    assert ids >= {"fid.published", "aed.published", "identity", "akd.published", "pose", "akd.mediapipe"}
    assert applicable(same_identity=True) == ALL_METRICS


def test_stand_ins_have_names_of_their_own():
    for one in ALL_METRICS:
        assert (one.variant == "stand-in") == one.name.endswith("-mediapipe")
        assert not (one.variant == "stand-in" and one.needs)


def test_published_hashes_begin_as_the_names_say():
    for file in {file for one in ALL_METRICS for file in one.needs}:
        found = re.search(r"-([0-9a-f]{8,10})\.pth", file.name)
        assert found is None or file.sha256.startswith(found[1])
        assert file.sha256 == "" or re.fullmatch("[0-9a-f]{64}", file.sha256)


def test_every_metric_has_a_gauge_or_says_what_it_needs(tmp_path, cpu):
    ids = [one.id for one in ALL_METRICS]
    with open_gauges(ids, WeightFolder(tmp_path), cpu, workers=1) as toolbox:
        measured = {name for gauge in toolbox.gauges for name in gauge.metrics}
    assert measured | set(toolbox.unavailable) == set(ids)
    assert not measured & set(toolbox.unavailable)
    for one in ALL_METRICS:
        if one.needs and one.id != "lpips":
            assert all(file.name in toolbox.unavailable[one.id] for file in one.needs)


def test_only_what_is_wanted_is_opened(tmp_path, cpu):
    with open_gauges(("psnr",), WeightFolder(tmp_path), cpu) as toolbox:
        assert [type(gauge).__name__ for gauge in toolbox.gauges] == ["PixelGauge"]
    assert toolbox.unavailable == {}
