"""The exported per-frame graph behind the Engine interface: onnxruntime draws, PyTorch observes and finds keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8

from synhead.config import ConfigError
from synhead.data.files import check_input
from synhead.inference.engine import EagerEngine
from synhead.inference.export import WEIGHTS_KEY, frame_inputs, input_names, open_session, run_session
from synhead.inference.fingerprint import weights_digest
from synhead.inference.frame_graph import to_pixels
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, NDArray, SourceFeatures

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxEngine(EagerEngine):
    """``path``: an export of this very model. On the CPU, in float32; raises ConfigError for a model on a GPU, and for
    other files than that.
    """

    def __init__(self, model: TalkingHead, path: Path) -> None:
        super().__init__(model)
        if self.device.type != "cpu":
            raise ConfigError("the onnx engine runs on the CPU; choose --device cpu or another engine")
        self._session = _session(model, path)
        self._names = input_names(model)
        self._batch: int = self._session.get_inputs()[0].shape[0]

    @property
    def name(self) -> str:
        """See Engine."""
        return "onnx"

    def render(self, source: SourceFeatures, driving: Keypoints) -> UInt8[NDArray[np.uint8], "b h w 3"]:
        """See Engine."""
        return to_pixels(torch.from_numpy(self.images(source, driving))).numpy()

    def images(self, source: SourceFeatures, driving: Keypoints) -> Float[NDArray[np.float32], "b 3 h w"]:
        """The graph's output, RGB in [-1, 1], not clamped. In batches of the exported size; the last is filled up."""
        count = driving.position.shape[0]
        parts: list[NDArray[np.float32]] = []
        for start in range(0, count, self._batch):
            rows = torch.arange(start, start + self._batch).clamp_(max=count - 1)
            part = Keypoints(position=driving.position[rows], jacobian=driving.jacobian[rows])
            parts.append(run_session(self._session, self._names, frame_inputs(source, part, self.model.config)))
        return np.concatenate(parts)[:count]


def _session(model: TalkingHead, path: Path) -> InferenceSession:
    check_input(path)
    try:
        session = open_session(path)
    except ImportError:
        raise
    except Exception as error:  # onnxruntime's own have no common class but this
        raise ConfigError(f"{path} is no graph that onnxruntime can open; write one with synhead export") from error
    if session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY) != weights_digest(model):
        raise ConfigError(f"{path} was not written from these weights; write it again with synhead export")
    return session
