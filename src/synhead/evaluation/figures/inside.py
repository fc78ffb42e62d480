"""Figures 7, 8, 10 and 11 of the paper and the occlusion maps, each from one traced pair."""

from __future__ import annotations

import numpy as np

from synhead.evaluation.figures.colour import (
    feature_colours,
    flow_colours,
    grey,
    grey_legend,
    long_px,
    round_limit,
    wheel_legend,
)
from synhead.evaluation.figures.sheet import Picture, Row, Sheet, draw_table
from synhead.evaluation.figures.trace import PairTrace, one, to_picture
from synhead.types import Quantized

__all__ = ["draw_inside"]

_PCA = (
    "Colours are the first three principal components, of one common basis per column: equal colours in a column mean "
    "equal features, colours of different columns do not compare."
)
_BACKWARD = (
    "Flows are backward: the colour at a pixel says in which direction, and how far in pixels of the flow grid, "
    "the source is read for it."
)


def draw_inside(trace: PairTrace) -> list[Sheet]:
    """All that this model has: one without a codebook has no figure 7 or 8."""
    sheets = [_motion(trace), _occlusion(trace), _appearance(trace)]
    if trace.passed.motion_codes:
        sheets.append(_motion_codes(trace))
    if trace.passed.appearance_codes:
        sheets.append(_appearance_codes(trace))
    return sheets


def _motion(trace: PairTrace) -> Sheet:
    """Figure 10."""
    flows = trace.flows_px()
    residuals = [one(step.residual_px) for step in trace.passed.animation.traces]
    limit, residual_limit = round_limit(long_px(flows)), round_limit(long_px(residuals))
    lengths = [f"99.5 % below {long_px([residual]):.2g} px" for residual in residuals]
    rows = [
        Row("flow M^i", [trace.source, *(flow_colours(flow, limit) for flow in flows)], ["source"]),
        Row(
            "residual M_r^i",
            [trace.driving, None, *(flow_colours(residual, residual_limit) for residual in residuals)],
            ["driving", "", *lengths],
        ),
        Row("source warped\nby M^i", [_result(trace), *trace.warped_sources()], ["result"]),
    ]
    legends = [wheel_legend("flow M^i", limit), wheel_legend("residual M_r^i", residual_limit)]
    return Sheet(
        "fig10-motion-compensation",
        "Motion compensation (figure 10)",
        f"The coarse flow M^0, and per scale the residual and the compensated flow. {_BACKWARD}",
        draw_table(["", "M^0", *_scale_titles(trace)], rows, legends=legends),
    )


def _occlusion(trace: PairTrace) -> Sheet:
    animation = trace.passed.animation
    maps = [animation.coarse.motion.visibility, *(step.motion.visibility for step in animation.traces)]
    arrays = [one(visibility)[0] for visibility in maps]
    notes = [f"{array.min():.2f} to {array.max():.2f}, mean {array.mean():.2f}" for array in arrays]
    legend = grey_legend("visibility O^i", "0, hidden in the source", "1, visible in the source")
    rows = [Row("visibility O^i", [grey(array) for array in arrays], notes)]
    return Sheet(
        "occlusion",
        "Occlusion maps",
        "Warped features are multiplied by these maps: black areas must be invented by the decoder.",
        draw_table(["O^0", *_scale_titles(trace)], rows, legends=[legend]),
    )


def _appearance(trace: PairTrace) -> Sheet:
    """Figure 11."""
    columns = [
        feature_colours([trace.source_features[step.scale], one(step.warped), one(step.compensated)])
        for step in trace.passed.animation.traces
    ]
    source, warped, compensated = zip(*columns, strict=True)
    rows = [Row("source F_s^i", source), Row("warped F_w^i", warped), Row("compensated F_c^i", compensated)]
    return Sheet(
        "fig11-appearance-compensation",
        "Appearance compensation (figure 11)",
        f"Source features, the same warped and occluded, and after compensation. {_PCA}",
        draw_table(_scale_titles(trace), rows),
    )


def _motion_codes(trace: PairTrace) -> Sheet:
    """Figure 7."""
    codings = trace.passed.motion_codes
    targets, decoded = [one(c.target_px) for c in codings], [one(c.reconstruction_px) for c in codings]
    limit = round_limit(long_px(targets))
    errors = [f"RMS error {np.sqrt(np.mean((a - b) ** 2)):.3g} px" for a, b in zip(targets, decoded, strict=True)]
    rows = [
        Row("flow M^(i-1)", [flow_colours(flow, limit) for flow in targets]),
        Row("decoded by D_M\nfrom its codes", [flow_colours(flow, limit) for flow in decoded], errors),
        Row("codes chosen", [_code_map(c.quantized) for c in codings], [_distinct(c.quantized) for c in codings]),
    ]
    return Sheet(
        "fig07-motion-codebook",
        "Flows from the motion codebook (figure 7)",
        f"The flow that enters a scale, and what D_M decodes from its quantised feature. {_BACKWARD} "
        "Codes chosen: one colour a code.",
        draw_table(_scale_titles(trace)[: len(codings)], rows, legends=[wheel_legend("flow", limit)]),
    )


def _appearance_codes(trace: PairTrace) -> Sheet:
    """Figure 8."""
    codings, scales = trace.passed.appearance_codes, tuple(trace.driving_tokens)
    originals = [feature_colours([trace.driving_features[scale]])[0] for scale in scales]
    columns, errors = [], []
    for scale, coding in zip(scales, codings, strict=True):
        tokens, quantized = trace.driving_tokens[scale], one(coding.values)
        columns.append(feature_colours([tokens, quantized]))
        error = float(np.linalg.norm(quantized - tokens) / np.linalg.norm(tokens).clip(1e-12))
        errors.append(f"relative error {error:.2f}")
    before, after = zip(*columns, strict=True)
    rows = [
        Row("driving F_d^i", originals),
        Row("projected to\ntokens", before),
        Row("quantised by\nthe codebook", after, errors),
        Row("codes chosen", [_code_map(coding) for coding in codings], [_distinct(coding) for coding in codings]),
    ]
    return Sheet(
        "fig08-appearance-codebook",
        "Driving features from the appearance codebook (figure 8)",
        "Driving features, the tokens they become, and the nearest codes of those tokens, drawn directly without a "
        f"decoder. {_PCA} The first row has a basis of its own. Codes chosen: one colour a code.",
        draw_table(_scale_titles(trace)[: len(scales)], rows),
    )


def _scale_titles(trace: PairTrace) -> list[str]:
    return [f"scale {number}: {scale} px" for number, scale in enumerate(trace.scales, start=1)]


def _result(trace: PairTrace) -> Picture:
    return to_picture(one(trace.passed.animation.image))


def _code_map(quantized: Quantized) -> Picture:
    """One arbitrary colour a code, far apart for neighbouring numbers."""
    indices = quantized.indices[0].cpu().numpy()
    palette = np.random.default_rng(0).integers(40, 256, (int(indices.max()) + 1, 3), dtype=np.uint8)
    return palette[indices]


def _distinct(quantized: Quantized) -> str:
    return f"{len(quantized.indices.unique())} codes for {quantized.indices.numel()} places"
