"""HDR video, as phones record it, to sRGB: its codes mean 1000 nits and more; taken for sRGB's they look washed out."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from synhead.types import NDArray

PQ, HLG = 16, 18
HDR_TRANSFERS = frozenset({PQ, HLG})
"""Transfer characteristics by the numbers of ITU-T H.273."""

PEAK_NITS, WHITE_NITS = 1000.0, 203.0
"""The brightest light that is kept apart, and a white sheet of paper (ITU-R BT.2408)."""
KNEE = 0.5
"""Share of WHITE_NITS up to which light stays as it is: faces do, for the most part."""
STRIP = 64
"""Rows at a time, so that what lies between codes and pixels stays in the cache."""

Linear = Float32[NDArray[np.float32], "h w 3"]

BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
TO_BT709 = np.array(
    [[1.66049, -0.58764, -0.07285], [-0.12455, 1.13290, -0.00835], [-0.01815, -0.10058, 1.11873]], dtype=np.float32
)
"""Linear light with BT.2020's primaries to the same with BT.709's, which are sRGB's."""


def hdr_to_srgb(codes: UInt16[NDArray[np.uint16], "h w 3"], transfer: int) -> UInt8[NDArray[np.uint8], "h w 3"]:
    """R'G'B' codes of BT.2020 (0 to 65535) of one of HDR_TRANSFERS as 8-bit sRGB.

    Light up to half of white comes out as it is; brighter light is pressed into what sRGB has above, by one factor for
    all three primaries so that its hue stays, and colours that sRGB has not become the nearest that it has.
    """
    pixels = np.empty(codes.shape, dtype=np.uint8)
    for top in range(0, len(codes), STRIP):
        light = _decoding(transfer).take(codes[top : top + STRIP])
        if transfer == HLG:
            light *= _system_gain(light)
        pixels[top : top + STRIP] = _encoded(_pressed(np.maximum(light @ TO_BT709.T, 0)))
    return pixels


@lru_cache
def _decoding(transfer: int) -> Float32[NDArray[np.float32], 65536]:
    """Light of each code: of PQ shown, in shares of WHITE_NITS; of HLG in the scene, 0 to 1."""
    codes = np.arange(65536) / 65535
    if transfer == PQ:
        root = codes ** (32 / 2523)
        nits = 10000 * (np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
        return (nits / WHITE_NITS).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12).astype(np.float32)


def _system_gain(scene: Linear) -> Float32[NDArray[np.float32], "h w 1"]:
    """From light in the scene to light on a display of PEAK_NITS, in shares of WHITE_NITS (BT.2100: gamma 1.2)."""
    luminance: NDArray[np.float32] = scene @ BT2020_LUMINANCE
    return (PEAK_NITS / WHITE_NITS) * luminance[..., None] ** np.float32(0.2)


def _pressed(light: Linear) -> Linear:
    """Reinhard's curve above the knee, which it leaves without a kink; PEAK_NITS becomes 1."""
    red, green, blue = np.split(light, 3, axis=-1)  # a maximum over so short an axis takes 20 times as long
    brightest = np.clip(np.maximum(np.maximum(red, green), blue), KNEE, PEAK_NITS / WHITE_NITS)
    above, most = (brightest - KNEE) / (1 - KNEE), (PEAK_NITS / WHITE_NITS - KNEE) / (1 - KNEE)
    pressed = KNEE + (1 - KNEE) * above * (1 + above / most**2) / (1 + above)
    return light * (pressed / brightest)


def _encoded(light: Linear) -> UInt8[NDArray[np.uint8], "h w 3"]:
    return _encoding().take((np.minimum(light, 1) * 65535 + 0.5).astype(np.uint16))


@lru_cache
def _encoding() -> UInt8[NDArray[np.uint8], 65536]:
    """sRGB of each of 65536 equal steps of light."""
    light = np.arange(65536) / 65535
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)
