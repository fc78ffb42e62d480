"""Which motion estimator found keypoints: they mean nothing to a detector with other weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor
from torch.nn import Module

from synhead.config import to_json
from synhead.model.talking_head import TalkingHead


@dataclass(frozen=True, slots=True)
class ModelFingerprint:
    """SHA-256, as 64 hexadecimal digits, of the keypoint detector's weights and of its configuration."""

    weights: str
    config: str


def fingerprint(model: TalkingHead) -> ModelFingerprint:
    """Of the detector alone: two models that differ elsewhere understand each other's motion."""
    config = model.config
    text = f"{to_json(config.keypoints)}image {config.image_size} flow {config.flow_size}\n"
    return ModelFingerprint(
        weights=weights_digest(model.keypoint_detector), config=hashlib.sha256(text.encode()).hexdigest()
    )


def weights_digest(module: Module) -> str:
    """SHA-256 of parameters and running statistics in the order of their names, each with name, shape and float32
    values; counters do not take part. The same on every device, and for a checkpoint that is saved and loaded again.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if tensor.is_floating_point():
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor_bytes(tensor.float()))
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values as they lie in memory, in order."""
    return tensor.detach().cpu().contiguous().numpy().tobytes()
