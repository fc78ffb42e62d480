"""Figures 7, 8, 10 and 11 of the paper and the occlusion maps, each from one traced pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from synhead.evaluation.figures.colour import (
    feature_colours,
    flow_colours,
    grey,
    grey_legend,
    long_px,
    rms_length,
    round_limit,
    wheel_legend,
    without_pattern,
)
from synhead.evaluation.figures.sheet import Picture, Row, Sheet, draw_table, tile_for
from synhead.evaluation.figures.trace import PairTrace, one, to_picture
from synhead.types import NDArray, Quantized, ScaleTrace

_PCA = (
    "Colours are the first three principal components, of one common basis per column: equal colours in a column mean "
    "equal features, colours of different columns do not compare."
)
_CODES = "Codes chosen: one colour a code, the same at every scale."
_BACKWARD = (
    "Flows are backward: the colour at a pixel says in which direction, and how far in pixels of the flow grid, "
    "the source is read for it. Keypoints are the driver's own (absolute), as in training."
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
    limit, residual_limit = _limit(flows), _limit(residuals)
    strengths = [_strength(flow) for flow in flows]
    lengths = [_strength(residual) for residual in residuals]
    rows = [
        Row("flow M^i", [trace.source, *(flow_colours(flow, limit) for flow in flows)], ["source", *strengths]),
        Row(
            "residual M_r^i",
            [trace.driving, None, *(flow_colours(residual, residual_limit) for residual in residuals)],
            ["driving", "", *lengths],
        ),
        Row("source warped\nby M^i", [_result(trace), *trace.warped_sources()], ["result"]),
    ]
    grid = flows[0].shape[-1]
    legends = [wheel_legend("flow M^i", limit, grid), wheel_legend("residual M_r^i", residual_limit, grid)]
    return Sheet(
        "fig10-motion-compensation",
        "Motion compensation (figure 10)",
        f"The coarse flow M^0, and per scale the residual and the compensated flow, with the root of "
        f"their mean squared length. {_BACKWARD} Warped pictures are black where the flow leaves the source; "
        "a decoder that blends continues the source's border there.",
        draw_table(["pictures", "M^0", *_scale_titles(trace)], rows, tile=_tile(trace), legends=legends),
    )


def _occlusion(trace: PairTrace) -> Sheet:
    animation = trace.passed.animation
    maps = [animation.coarse.motion.visibility, *(step.motion.visibility for step in animation.traces)]
    arrays = [one(visibility)[0] for visibility in maps]
    notes = [_span(array) for array in arrays]
    legends = [grey_legend("occlusion O^i", "0, feature erased", "1, feature kept")]
    columns, pictures = ["O^0", *_scale_titles(trace)], [grey(array) for array in arrays]
    caption = "Warped features are multiplied by these maps."
    if trace.passed.drawn is not None:
        drawn = one(trace.passed.drawn)[0]
        columns, pictures = [*columns, "drawn by the decoder"], [*pictures, grey(drawn)]
        notes.append(_span(drawn))
        legends.append(grey_legend("drawn by the decoder", "0, the source warped by M^N", "1, the decoder's drawing"))
        caption += " Last: which share of each pixel of the result the decoder drew; the rest is the warped source."
    rows = [Row("occlusion O^i", pictures, notes)]
    return Sheet(
        "occlusion",
        "Occlusion maps",
        caption,
        draw_table(columns, rows, tile=_tile(trace), legends=legends),
    )


def _appearance(trace: PairTrace) -> Sheet:
    """Figure 11."""
    columns = [_appearance_column(trace, step) for step in trace.passed.animation.traces]
    source, warped, compensated, plain = zip(*(pictures for pictures, _ in columns), strict=True)
    rows = [
        Row("source F_s^i", source),
        Row("warped F_w^i", warped),
        Row("compensated F_c^i", compensated, [note for _, note in columns]),
        Row("F_c^i without\nthat pattern", plain),
    ]
    return Sheet(
        "fig11-appearance-compensation",
        "Appearance compensation (figure 11)",
        "Source features, the same warped and occluded, and after compensation. Rows of F_c^i have bases of their "
        "own, since compensation projects into a space that only the decoder knows. Pattern: what is alike in the "
        f"windows of all tokens, and its share of the variance. {_PCA}",
        draw_table(_scale_titles(trace), rows, tile=_tile(trace)),
    )


def _appearance_column(trace: PairTrace, step: ScaleTrace) -> tuple[list[Picture | None], str]:
    """F_s, F_w, F_c and F_c without its pattern, and the note under F_c. Where nothing compensates, F_c is F_w."""
    source, warped, compensated = trace.source_features[step.scale], one(step.warped), one(step.compensated)
    if step.scale not in trace.driving_tokens:
        return [*feature_colours([source, warped, compensated]), None], "not compensated"
    plain, share = without_pattern(compensated, trace.driving_tokens[step.scale].shape[-1])
    known, alone, last = feature_colours([source, warped]), feature_colours([compensated]), feature_colours([plain])
    return [*known, *alone, *last], f"pattern: {share:.0%} of variance"


def _motion_codes(trace: PairTrace) -> Sheet:
    """Figure 7."""
    codings = trace.passed.motion_codes
    targets, decoded = [one(c.target_px) for c in codings], [one(c.reconstruction_px) for c in codings]
    limit = _limit(targets)
    errors = [f"RMS error {rms_length(a - b):.3g} px" for a, b in zip(targets, decoded, strict=True)]
    maps = [_code_map(c.quantized, first) for c, first in zip(codings, trace.first_codes["motion"], strict=True)]
    rows = [
        Row("flow M^(i-1)", [flow_colours(flow, limit) for flow in targets], [_strength(flow) for flow in targets]),
        Row("decoded by D_M\nfrom its codes", [flow_colours(flow, limit) for flow in decoded], errors),
        Row("codes chosen", maps, [_distinct(c.quantized) for c in codings]),
    ]
    return Sheet(
        "fig07-motion-codebook",
        "Flows from the motion codebook (figure 7)",
        "The flow that enters a scale, and what D_M decodes from its quantised feature; RMS is the root of the mean "
        f"squared length, of the flow and of the difference. {_BACKWARD} {_CODES}",
        draw_table(
            _scale_titles(trace)[: len(codings)],
            rows,
            tile=_tile(trace),
            legends=[wheel_legend("flow", limit, targets[0].shape[-1])],
        ),
    )


def _appearance_codes(trace: PairTrace) -> Sheet:
    """Figure 8."""
    codings, scales = trace.passed.appearance_codes, tuple(trace.driving_tokens)
    originals = [feature_colours([trace.driving_features[scale]])[0] for scale in scales]
    columns, errors = [], []
    for scale, coding in zip(scales, codings, strict=True):
        tokens, quantized = trace.driving_tokens[scale], one(coding.values)
        columns.append(feature_colours([tokens, quantized]))
        errors.append(f"variance lost {_variance_lost(tokens, quantized):.0%}")
    maps = [_code_map(coding, first) for coding, first in zip(codings, trace.first_codes["appearance"], strict=True)]
    before, after = zip(*columns, strict=True)
    rows = [
        Row("driving F_d^i", originals),
        Row("projected to\ntokens", before),
        Row("quantised by\nthe codebook", after, errors),
        Row("codes chosen", maps, [_distinct(coding) for coding in codings]),
    ]
    return Sheet(
        "fig08-appearance-codebook",
        "Driving features from the appearance codebook (figure 8)",
        "Driving features, the tokens they become, and the nearest codes of those tokens, drawn directly without a "
        "decoder. Variance lost: mean squared distance from token to code, in parts of the tokens' variance. "
        f"{_PCA} The first row has a basis of its own. {_CODES}",
        draw_table(_scale_titles(trace)[: len(scales)], rows, tile=_tile(trace)),
    )


def _variance_lost(tokens: Float[NDArray[Any], "d t t"], quantized: Float[NDArray[Any], "d t t"]) -> float:
    """A codebook of one code, their mean, loses 1."""
    spread = tokens - tokens.mean(axis=(1, 2), keepdims=True)
    return float(np.square(quantized - tokens).mean() / np.square(spread).mean().clip(1e-12))


def _limit(flows: Sequence[Float[NDArray[Any], "2 h w"]]) -> float:
    """What the rim of the wheel stands for: nearly all of each of the flows is below."""
    return round_limit(max(long_px([flow]) for flow in flows))


def _strength(flow: Float[NDArray[Any], "2 h w"]) -> str:
    return f"RMS {rms_length(flow):.2g} px"


def _span(array: Float[NDArray[Any], "h w"]) -> str:
    return f"{array.min():.2f} to {array.max():.2f}, mean {array.mean():.2f}"


def _tile(trace: PairTrace) -> int:
    return tile_for(len(trace.source))


def _scale_titles(trace: PairTrace) -> list[str]:
    return [f"scale {number}: {scale} px" for number, scale in enumerate(trace.scales, start=1)]


def _result(trace: PairTrace) -> Picture:
    return to_picture(one(trace.passed.animation.image))


def _code_map(quantized: Quantized, first: int) -> Picture:
    """One arbitrary colour a code, far apart for neighbouring numbers. ``first``: the code that index 0 stands for."""
    indices = quantized.indices[0].cpu().numpy() + first
    palette = np.random.default_rng(0).integers(40, 256, (int(indices.max()) + 1, 3), dtype=np.uint8)
    return palette[indices]


def _distinct(quantized: Quantized) -> str:
    return f"{len(quantized.indices.unique())} codes for {quantized.indices.numel()} places"
