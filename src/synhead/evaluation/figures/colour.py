"""Flows, features and maps as colours."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float
from PIL import Image, ImageDraw

from synhead.evaluation.figures.sheet import Picture, font
from synhead.types import NDArray

_WHEEL = np.array([colorsys.hsv_to_rgb(i / 360, 1.0, 0.92) for i in range(361)])
_INK = (24, 24, 27)


def flow_colours(displacement_px: Float[NDArray[Any], "2 h w"], limit_px: float) -> Picture:
    """Colour wheel: hue is the direction (right red, then clockwise as on screen), saturation the length.

    No displacement is white; ``limit_px`` and more is fully saturated.
    """
    x, y = displacement_px.astype(np.float64)
    turn = (np.arctan2(y, x) / (2 * math.pi)) % 1.0
    strength = (np.hypot(x, y) / max(limit_px, 1e-12)).clip(0, 1)[..., None]
    place = turn * 360
    low = np.floor(place).astype(int).clip(0, 359)
    hue = _WHEEL[low] + (_WHEEL[low + 1] - _WHEEL[low]) * (place - low)[..., None]
    return _bytes(1 - strength * (1 - hue))


def long_px(displacements_px: Sequence[Float[NDArray[Any], "2 h w"]]) -> float:
    """The length that 99.5 % of the displacements of several flows stay below: one bad corner sets no scale."""
    return float(np.percentile([np.hypot(*flow) for flow in displacements_px], 99.5))


def round_limit(value: float) -> float:
    """A readable number at or above ``value``, for a legend; 1e-3 at least."""
    value = max(value, 1e-3)
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def wheel_legend(title: str, limit_px: float, grid: int, *, side: int = 72) -> Image.Image:
    """The wheel with what its rim stands for, in pixels of a flow of ``grid`` by ``grid``."""
    axis = np.linspace(-1, 1, side)
    x, y = np.meshgrid(axis, axis)
    wheel = flow_colours(np.stack([x, y]), 1.0)
    wheel[np.hypot(x, y) > 1] = 255
    words = (
        title,
        f"rim: {limit_px:g} px and more, of the flow grid's {grid}",
        "direction as on the page, white: none",
    )
    return _with_text(wheel, words)


def rms_length(displacement_px: Float[NDArray[Any], "2 h w"]) -> float:
    """Root of the mean squared length: of vectors, not of their components."""
    return float(np.sqrt(np.mean(np.square(displacement_px.astype(np.float64)).sum(axis=0))))


def without_pattern(feature: Float[NDArray[Any], "c s s"], tokens: int) -> tuple[Float[NDArray[Any], "c s s"], float]:
    """A feature without what repeats in each of its ``tokens`` by ``tokens`` windows, and that pattern's share of it.

    Each place of a window is restored from its token by weights of its own, so that what all tokens have in common
    comes back as a grid, which says nothing about the picture. The share is of the variance.
    """
    windows = rearrange(feature.astype(np.float64), "c (h p) (w q) -> c p q h w", h=tokens, w=tokens)
    pattern = windows.mean(axis=(3, 4), keepdims=True)
    total = float(np.square(windows - windows.mean(axis=(1, 2, 3, 4), keepdims=True)).mean())
    left = windows - pattern
    share = 1 - float(np.square(left).mean()) / max(total, 1e-12)
    return rearrange(left, "c p q h w -> c (h p) (w q)"), share


def feature_colours(features: Sequence[Float[NDArray[Any], "c _ _"]]) -> list[Picture]:
    """Features of the same channels as colours of one common basis: their first three principal components.

    Components are stretched from the 1st to the 99th percentile over all features together, so that equal colours mean
    equal features. Signs are fixed, so that a figure is drawn alike every time.
    """
    flat = [feature.reshape(len(feature), -1).T.astype(np.float64) for feature in features]
    pixels = np.concatenate(flat)
    mean = pixels.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov((pixels - mean).T, bias=True).reshape(len(mean), len(mean)))
    basis = vectors[:, ::-1][:, :3]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
    projected = (pixels - mean) @ basis
    low, high = np.percentile(projected, [1, 99], axis=0)
    scale = np.maximum(high - low, 1e-12)
    pictures = []
    for feature, rows in zip(features, flat, strict=True):
        colour = np.full((len(rows), 3), 0.5)
        colour[:, : basis.shape[1]] = ((rows - mean) @ basis - low) / scale
        pictures.append(_bytes(colour.reshape(*feature.shape[1:], 3)))
    return pictures


def grey(values: Float[NDArray[Any], "h w"]) -> Picture:
    """0 black, 1 white."""
    return np.repeat(_bytes(values)[..., None], 3, axis=2)


def grey_legend(title: str, low: str, high: str) -> Image.Image:
    """A ramp from black to white with the meaning of its ends."""
    ramp = np.repeat(np.linspace(0, 1, 72)[None], 72, axis=0)
    return _with_text(grey(ramp), (title, f"black: {low}", f"white: {high}"))


def _with_text(picture: Picture, lines: Sequence[str]) -> Image.Image:
    text = font(13)
    height, width = picture.shape[:2]
    legend = Image.new("RGB", (width + 10 + int(max(text.getlength(line) for line in lines)) + 2, height), "white")
    legend.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(legend)
    for number, line in enumerate(lines):
        draw.text((width + 10, height // 2 + 20 * number - 20), line, fill=_INK, font=text, anchor="lm")
    return legend


def _bytes(values: Float[NDArray[Any], ...]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return levels
