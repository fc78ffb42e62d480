"""The gauges that can be opened here, and for the metrics that cannot be measured the file or package they want."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType

import torch

from synhead.evaluation.gauges.arcface import ArcFaceGauge, open_arcface
from synhead.evaluation.gauges.face_task import FaceTaskGauge, open_face_task
from synhead.evaluation.gauges.fan import FanGauge, open_fan
from synhead.evaluation.gauges.fid import FidGauge, open_fid
from synhead.evaluation.gauges.gauge import Gauge
from synhead.evaluation.gauges.lpips import LpipsGauge, open_lpips
from synhead.evaluation.gauges.mesh import MeshGauge, open_mesh
from synhead.evaluation.gauges.openface import OpenFaceGauge, open_openface
from synhead.evaluation.gauges.pixels import PixelGauge
from synhead.evaluation.weight_files import UnavailableError, WeightFolder

Opener = Callable[[WeightFolder, torch.device], Gauge]

_OPENERS: tuple[tuple[tuple[str, ...], Opener], ...] = (
    (FidGauge.metrics, open_fid),
    (LpipsGauge.metrics, open_lpips),
    (FanGauge.metrics, open_fan),
    (OpenFaceGauge.metrics, open_openface),
    (ArcFaceGauge.metrics, open_arcface),
    (FaceTaskGauge.metrics, open_face_task),
)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """A context manager: closes its gauges. ``unavailable``: metric to what it needs."""

    gauges: tuple[Gauge, ...]
    unavailable: Mapping[str, str]

    def __enter__(self) -> Toolbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with ExitStack() as stack:
            for gauge in self.gauges:
                stack.enter_context(closing(gauge))


def open_gauges(wanted: Collection[str], weights: WeightFolder, device: torch.device, *, workers: int = 2) -> Toolbox:
    """Gauges of all metrics in ``wanted`` that have what they need; nothing is put in the place of the others."""

    def mesh(weights: WeightFolder, device: torch.device) -> Gauge:
        del device
        return open_mesh(weights, workers)

    gauges: list[Gauge] = []
    unavailable: dict[str, str] = {}
    if set(PixelGauge.metrics) & set(wanted):
        gauges.append(PixelGauge())
    for metrics, opener in (*_OPENERS, (MeshGauge.metrics, mesh)):
        if not set(metrics) & set(wanted):
            continue
        try:
            gauges.append(opener(weights, device))
        except UnavailableError as error:
            unavailable |= dict.fromkeys(metrics, str(error))
    return Toolbox(tuple(gauges), {name: why for name, why in unavailable.items() if name in wanted})
