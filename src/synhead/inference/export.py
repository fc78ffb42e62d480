"""The per-frame graph as an ONNX file: keypoints of driving frames and a source's tensors in, pictures out."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from synhead.config import ConfigError, ModelConfig, to_json
from synhead.inference.fingerprint import weights_digest
from synhead.inference.frame_graph import FrameGraph, source_names, source_tensors
from synhead.inference.prepared import fold, project_codes
from synhead.model.talking_head import TalkingHead
from synhead.types import Keypoints, NDArray, SourceFeatures

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OPSET = 20  # the first whose GridSample has the names and the 4-D form that runtimes agree on
TOLERANCE = 1e-3
CONFIG_KEY, WEIGHTS_KEY = "synhead_config", "synhead_weights"
"""Metadata of a graph that say which model it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """An exported graph: its file, batch, and the largest difference that onnxruntime showed from the model."""

    path: Path
    batch: int
    difference: float


class _FlatFrame(torch.nn.Module):
    """A frame graph whose inputs are a flat list, as ONNX has them."""

    def __init__(self, graph: FrameGraph) -> None:
        super().__init__()
        self.frame = graph

    def forward(self, position: Tensor, jacobian: Tensor, *source: Tensor) -> Tensor:
        out: Tensor = self.frame(position, jacobian, source)
        return out


def input_names(model: TalkingHead) -> tuple[str, ...]:
    """Of the exported graph, in order; its one output is ``image``, RGB in [-1, 1], not clamped."""
    return ("position", "jacobian", *source_names(model.config))


def export_onnx(model: TalkingHead, path: Path, *, batch: int = 1) -> Export:
    """Writes ``path`` with a fixed batch of driving frames and one source, and verifies it with onnxruntime.

    Raises ConfigError if the outputs differ by more than ``TOLERANCE``: the file is not written then. Needs the extra
    ``onnx``.
    """
    model = model.cpu().eval()
    example = example_inputs(model, batch)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        write_graph(model, written, example)
        with torch.inference_mode():
            wanted = _FlatFrame(FrameGraph(model, project_codes(model, torch.float32)))(*example)
        found = run_session(open_session(written), input_names(model), example)
        difference = float(np.abs(found - wanted.numpy()).max())
        if not difference <= TOLERANCE:
            raise ConfigError(
                f"onnxruntime differs from the model by {difference:.1e}, more than {TOLERANCE:.0e}; nothing is written"
            )
        written.replace(path)
    return Export(path=path, batch=batch, difference=difference)


def write_graph(model: TalkingHead, path: Path, example: tuple[Tensor, ...]) -> None:
    """The graph alone, unverified."""
    graph = _FlatFrame(FrameGraph(fold(model), project_codes(model, torch.float32))).eval()
    with torch.no_grad():
        program = torch.onnx.export(
            graph,
            example,
            input_names=list(input_names(model)),
            output_names=["image"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props[CONFIG_KEY] = to_json(model.config)
    program.model.metadata_props[WEIGHTS_KEY] = weights_digest(model)
    program.save(str(path))


def example_inputs(model: TalkingHead, batch: int, seed: int = 0) -> tuple[Tensor, ...]:
    """A source and driving keypoints near its own, made up but not degenerate."""
    generator = torch.Generator().manual_seed(seed)
    size = model.config.image_size
    coarse = torch.rand(1, 3, 8, 8, generator=generator) * 2 - 1
    portrait = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(-1, 1)
    with torch.inference_mode():
        source = model.observe(portrait)
    position, jacobian = source.keypoints.position, source.keypoints.jacobian
    moved = position + 0.05 * torch.randn(batch, *position.shape[1:], generator=generator)
    turned = jacobian + 0.05 * torch.randn(batch, *jacobian.shape[1:], generator=generator)
    return tuple(tensor.clone() for tensor in (moved, turned, *source_tensors(source, model.config)))


def open_session(path: Path, threads: int = 0) -> InferenceSession:
    """An onnxruntime session on the CPU; ``threads`` 0: as many as PyTorch uses."""
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # the block it plans comes on top of the arena: half as much memory again
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_session(session: InferenceSession, names: tuple[str, ...], tensors: tuple[Tensor, ...]) -> NDArray[np.float32]:
    """The image of the exported graph."""
    given = {name: tensor.float().contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
    image: NDArray[np.float32] = session.run(["image"], given)[0]
    return image


def frame_inputs(source: SourceFeatures, driving: Keypoints, config: ModelConfig) -> tuple[Tensor, ...]:
    """Inputs of the exported graph in the order of :func:`input_names`."""
    return (driving.position, driving.jacobian, *source_tensors(source, config))
