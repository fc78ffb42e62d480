"""Photos whose colours mean something else than sRGB: phones write Display P3, cameras Adobe RGB, printers CMYK."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""What a profile has to be of (ICC's name), for the pictures of each mode."""
STEPS = 5
INVISIBLE = 1
FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An opaque ``image`` as 8-bit sRGB: by the ICC ``profile`` that its file carries, if it does.

    A profile that is broken or that is for another kind of picture is ignored, as browsers do. One that means sRGB
    itself leaves every pixel as it is: curves in tables of different lengths would shift some by one level.
    """
    if image.mode not in SPACES:
        image = image.convert("L" if image.mode == "1" else "RGB")
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    return transform.apply(image)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None if the profile cannot be used or changes nothing that can be seen."""
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        if opened.profile.xcolor_space.strip() != SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            FLAGS,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform if mode == "CMYK" or _is_visible(transform, mode) else None


def _is_visible(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    colours = _chart(mode)
    before = np.asarray(colours.convert("RGB"), dtype=np.int16)
    after = np.asarray(transform.apply(colours), dtype=np.int16)
    return bool(np.abs(after - before).max() > INVISIBLE)


def _chart(mode: str) -> Image.Image:
    """All greys, and for colour pictures a grid of colours too."""
    greys = np.arange(256, dtype=np.uint8)
    if mode == "L":
        return Image.fromarray(greys[None])
    levels = np.linspace(0, 255, STEPS).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    return Image.fromarray(np.concatenate([greys[:, None].repeat(3, axis=1), grid])[None])
