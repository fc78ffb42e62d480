import copy

import torch

from synhead.app.models import untrained
from synhead.inference.fingerprint import fingerprint
from synhead.weights import checkpoint


def test_saving_and_loading_keeps_it(model, tmp_path):
    again = checkpoint.load(checkpoint.save(model, tmp_path / "weights"))
    assert fingerprint(again) == fingerprint(model)
    assert len(fingerprint(model).weights) == len(fingerprint(model).config) == 64


def test_only_the_detector_counts(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(other.decoder.parameters()).add_(1)
        for buffer in other.keypoint_detector.buffers():
            if not buffer.is_floating_point():
                buffer.add_(1)
    assert fingerprint(other) == fingerprint(model)


def test_every_weight_of_it_counts(model):
    found = {fingerprint(model).weights}
    tensors = [t for t in model.keypoint_detector.state_dict() if "num_batches" not in t]
    for name in tensors:
        other = copy.deepcopy(model)
        other.keypoint_detector.state_dict()[name].view(-1)[0] += 1e-3
        found.add(fingerprint(other).weights)
    assert len(found) == 1 + len(tensors)


def test_another_configuration():
    assert fingerprint(untrained("tiny")).config != fingerprint(untrained("base")).config
