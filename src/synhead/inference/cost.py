"""What a model costs: parameters of its parts, and multiply-accumulates counted while it runs once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from synhead.model.talking_head import TalkingHead

# Which kernel attention takes depends on device and mask. The counter knows those of GPUs; this one it does not.
_CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Multiply-accumulates of convolutions, linear layers and attention products, in units of 10^9, batch 1.

    ``encoder``: image encoder alone. ``source``: all that is done once per source. ``driving_frame``: keypoints of the
    driving frame, coarse motion, compensation and decoding, with the source cached.
    """

    encoder: float
    source: float
    driving_frame: float


def measure_cost(model: TalkingHead) -> Cost:
    """Runs the model once on an empty image and counts (a few seconds for the published size on a CPU)."""
    parameter = next(model.parameters())
    size = model.config.image_size
    image = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            with _counter() as encoding:
                model.encoder(image)
            with _counter() as observing:
                source = model.observe(image)
            with _counter() as animating:
                model.animate(source, model.keypoint_detector(image))
    finally:
        model.train(was_training)
    return Cost(encoder=_gmac(encoding), source=_gmac(observing), driving_frame=_gmac(animating))


def count_parameters(model: TalkingHead) -> Mapping[str, int]:
    """Number of parameters of each part, in the order of figure 1."""
    return {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}


def _counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={_CPU_ATTENTION: _attention_flop})


def _attention_flop(query: torch.Size, _key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Twice the multiply-accumulates of q k^T and of the weighted sum; the counter hands over shapes for tensors."""
    batch, heads, queries, width = query
    keys, value_width = value[-2:]
    return 2 * batch * heads * queries * keys * (width + value_width)


def _gmac(counter: FlopCounterMode) -> float:
    return float(counter.get_total_flops()) / 2 / 1e9
