"""FID's network against torch-fidelity 0.4.0, which gave these numbers for the same weights and picture."""

from __future__ import annotations

import pytest
import torch

from synhead.evaluation.gauges.inception import FidInception, load_inception
from synhead.evaluation.weight_files import UnavailableError
from tests.evaluation.conftest import waves

EXPECTED_FIRST = [0.10763190686702728, 0.08313624560832977, 0.10303030908107758, 0.03528650104999542]
EXPECTED_THOUSANDTH = [0.058362387120723724, 0.062050677835941315, 0.0]
EXPECTED_MEAN, EXPECTED_DEVIATION = 0.06208255514502525, 0.07949268072843552


def test_features_of_torch_fidelity():
    network = load_inception(waves(FidInception()))
    angles = torch.arange(3 * 299 * 299, dtype=torch.float64) * 0.37
    levels = ((torch.sin(angles) + 1) * 127.5).round().view(1, 3, 299, 299).float()
    as_torch_fidelity_scales = ((levels - 128) / 128 + 1) / 2
    with torch.no_grad():
        features = network(as_torch_fidelity_scales)[0]
    assert features[:4].tolist() == pytest.approx(EXPECTED_FIRST, abs=1e-4)
    assert features[1000:1003].tolist() == pytest.approx(EXPECTED_THOUSANDTH, abs=1e-4)
    assert float(features.mean()) == pytest.approx(EXPECTED_MEAN, abs=1e-4)
    assert float(features.std()) == pytest.approx(EXPECTED_DEVIATION, abs=1e-4)


def test_other_weights_are_refused():
    with pytest.raises(UnavailableError, match="download it again"):
        load_inception({"fc.bias": torch.zeros(1000)})
