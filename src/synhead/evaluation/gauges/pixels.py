"""PSNR, L1, SSIM and MS-SSIM: no weights needed."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Readings, Skip
from synhead.evaluation.image_metrics import l1, psnr_db, ssim
from synhead.evaluation.trials import Trial
from synhead.losses.structure import ms_ssim

__all__ = ["PixelGauge"]

MIN_SSIM_SIDE, MIN_MS_SSIM_SIDE = 11, 176
_BATCH = 16


class PixelGauge(FrameGauge):
    """Against the driving frames."""

    metrics: tuple[str, ...] = ("psnr", "l1", "ssim", "ms_ssim")

    def measure(self, trial: Trial, generated: Frames) -> Readings:
        """See Gauge."""
        pairs = list(zip(generated, trial.driving, strict=True))
        values: dict[str, tuple[float | None, ...]] = {
            "psnr": tuple(psnr_db(result, target) for result, target in pairs),
            "l1": tuple(l1(result, target) for result, target in pairs),
        }
        side = min(generated.shape[1:3])
        skips: list[Skip] = []
        for name, least in (("ssim", MIN_SSIM_SIDE), ("ms_ssim", MIN_MS_SSIM_SIDE)):
            if side < least:
                reason = f"{side} pixels a side; this metric needs {least}"
                skips += [Skip(frame, (name,), reason) for frame in range(len(pairs))]
                values[name] = (None,) * len(pairs)
        if "ssim" not in values:
            values["ssim"] = tuple(ssim(result, target) for result, target in pairs)
        if "ms_ssim" not in values:
            values["ms_ssim"] = multi_scale(generated, trial.driving)
        return Readings(values=values, skips=tuple(skips))


def multi_scale(first: Frames, second: Frames) -> tuple[float, ...]:
    """MS-SSIM of each pair."""
    found: list[float] = []
    for start in range(0, len(first), _BATCH):
        parts = [_channels(frames[start : start + _BATCH]) for frames in (first, second)]
        with torch.inference_mode():
            found += ms_ssim(*parts, data_range=255.0).tolist()
    return tuple(found)


def _channels(frames: Frames) -> torch.Tensor:
    return rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "n h w c -> n c h w").float()
