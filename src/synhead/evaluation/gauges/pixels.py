"""PSNR, L1, SSIM and MS-SSIM: no weights needed."""

from __future__ import annotations

from synhead.evaluation.gauges.gauge import FrameGauge, Frames, Readings, Skip
from synhead.evaluation.image_metrics import l1, ms_ssim, psnr_db, ssim
from synhead.evaluation.trials import Trial

MIN_SSIM_SIDE, MIN_MS_SSIM_SIDE = 11, 176


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
        for name, compare, least in (("ssim", ssim, MIN_SSIM_SIDE), ("ms_ssim", ms_ssim, MIN_MS_SSIM_SIDE)):
            if side < least:
                reason = f"{side} pixels a side; this metric needs {least}"
                skips += [Skip(frame, (name,), reason) for frame in range(len(pairs))]
                values[name] = (None,) * len(pairs)
            else:
                values[name] = tuple(compare(result, target) for result, target in pairs)
        return Readings(values=values, skips=tuple(skips))
