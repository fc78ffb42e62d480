"""Still images at the edge: any file Pillow knows becomes upright 8-bit RGB, and squares of the model's size."""

from __future__ import annotations

import warnings
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from synhead.data.colour import to_srgb
from synhead.data.errors import MediaError
from synhead.data.files import check_input, check_output, replacing
from synhead.types import NDArray

Fit = Literal["crop", "stretch", "pad"]
RgbImage: TypeAlias = UInt8[NDArray[np.uint8], "_ _ 3"]
"""Height, width, (red, green, blue), 0 to 255."""

FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
IMAGE_SUFFIXES = tuple(FORMATS)
QUALITY = 95
MIN_SIDE_PX = 16
MAX_ASPECT = 20
MAX_PIXELS = 120_000_000
BACKGROUND = (255, 255, 255)
_ANIMATED = ("AVIF", "GIF", "PNG", "WEBP")


def read_image(path: Path) -> RgbImage:
    """The image upright (EXIF orientation applied) as 8-bit sRGB (an embedded ICC profile applied).

    Transparency is composited on white; 16-bit and floating-point greys are scaled, not clipped; of an animation the
    first frame is taken. Raises MediaError for what is no image, is damaged, smaller than 16 px or larger than 120 MP.
    """
    with check_input(path).open("rb") as file:
        return decode_image(file, str(path))


def is_animation(path: Path) -> bool:
    """Whether a readable image holds pictures that follow each other; pages and views (TIFF, MPO) do not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large images, which were read before
        with Image.open(path) as image:
            return image.format in _ANIMATED and bool(getattr(image, "is_animated", False))


def decode_image(file: BufferedReader | BytesIO, name: str, *, max_pixels: int = MAX_PIXELS) -> RgbImage:
    """As :func:`read_image`, of an open file that messages call ``name``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; max_pixels decides instead
            with Image.open(file) as image:
                check_size(name, *image.size, max_pixels=max_pixels)
                upright = ImageOps.exif_transpose(image)
                return np.array(opaque_srgb(upright, image.info.get("icc_profile")), dtype=np.uint8)
    except MediaError:
        raise
    except UnidentifiedImageError as error:
        raise MediaError(f"{name} is not an image that can be read; give a JPEG, PNG or WebP file") from error
    except Image.DecompressionBombError as error:
        raise MediaError(f"{name} has too many pixels; resize it below {max_pixels // 10**6} megapixels") from error
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise MediaError(f"{name} is damaged ({error}); export or download the image again") from error


def opaque_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Any picture of Pillow's as 8-bit sRGB, by the ICC ``profile`` that belongs to it; transparency lies on white."""
    if image.mode.startswith("I"):
        return to_srgb(Image.fromarray(_scaled_grey(np.array(image, dtype=np.float32), (65535.0,))), profile)
    if image.mode == "F":
        return to_srgb(Image.fromarray(_scaled_grey(np.array(image), (1.0, 255.0, 65535.0))), profile)
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA")
        overlay = image.convert("LA" if grey else "RGBA")
        colours = to_srgb(overlay.convert("L" if grey else "RGB"), profile)
        colours.putalpha(overlay.getchannel("A"))
        return Image.alpha_composite(Image.new("RGBA", colours.size, BACKGROUND), colours).convert("RGB")
    return to_srgb(image, profile)


def write_image(path: Path, image: RgbImage) -> None:
    """Write an RGB image as its suffix says, atomically: a failure leaves an earlier file as it was."""
    target = check_output(path, suffixes=IMAGE_SUFFIXES)
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(encode_image(image, target.suffix, quality=QUALITY))
    except OSError as error:
        raise MediaError(f"{path} could not be written ({error}); free space or choose another folder") from error


def encode_image(image: RgbImage, suffix: str, **options: Any) -> bytes:  # noqa: ANN401 - Pillow's own
    """The content of a file that ends in ``suffix``, with Pillow's ``options`` for it.

    Not straight into the file: Pillow does not notice that a full disk took only a part of a JPEG.
    """
    content = BytesIO()
    Image.fromarray(image).save(content, format=FORMATS[suffix.lower()], **options)
    return content.getvalue()


def fitted_size(width: int, height: int, size: int, fit: Fit) -> tuple[int, int]:
    """(width, height) to which an image is scaled before :func:`centre` crops or pads it to ``size`` x ``size``."""
    if fit == "stretch":
        return size, size
    side = min(width, height) if fit == "crop" else max(width, height)
    return max(1, round(width * size / side)), max(1, round(height * size / side))


def centre(image: RgbImage, size: int) -> UInt8[NDArray[np.uint8], "{size} {size} 3"]:
    """Cut what exceeds ``size`` and fill in black what lacks, on both sides alike. A copy unless nothing changes."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    top, left = max(0, (height - size) // 2), max(0, (width - size) // 2)
    cut = image[top : top + size, left : left + size]
    square = np.zeros((size, size, 3), dtype=np.uint8)
    top, left = (size - cut.shape[0]) // 2, (size - cut.shape[1]) // 2
    square[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    return square


def fit_image(image: RgbImage, size: int, fit: Fit = "crop") -> UInt8[NDArray[np.uint8], "{size} {size} 3"]:
    """``image`` as a square of ``size`` pixels, bilinear (area-weighted when shrinking, so that nothing aliases).

    ``crop`` keeps the central square, ``pad`` the whole image between black bars, ``stretch`` ignores the proportions
    (as the published code does). The same array if it already fits.
    """
    height, width = image.shape[:2]
    target = fitted_size(width, height, size, fit)
    if target == (width, height):
        return centre(image, size)
    return centre(np.array(Image.fromarray(image).resize(target, Image.Resampling.BILINEAR)), size)


def check_rgb(image: object) -> None:
    """MediaError for what is no picture as this package handles them: others would fail far from here, or be drawn as
    other pictures (levels from 0 to 1 as black ones).
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return
        found = f"{image.dtype} of shape {image.shape}"
    else:
        found = type(image).__name__
    raise MediaError(
        f"a picture must be an array of 8-bit RGB, uint8 of shape (height, width, 3), 0 to 255, but this is {found}; "
        "np.array(image.convert('RGB')) makes one of any image of Pillow's"
    )


def check_size(name: Path | str, width: int, height: int, *, max_pixels: int = MAX_PIXELS) -> None:
    """MediaError for pictures too small, too large or too narrow to show a face; checked before pixels are read."""
    found = f"{name} has {width} x {height} pixels"
    if min(width, height) < MIN_SIDE_PX:
        raise MediaError(f"{found}, too few to show a face; give at least {MIN_SIDE_PX} a side")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise MediaError(f"{found}, a strip too narrow to show a face; crop it around the face")
    if width * height > max_pixels:
        raise MediaError(f"{found}; resize it below {max_pixels // 10**6} megapixels")


def _scaled_grey(
    grey: Float32[NDArray[np.float32], "h w"], whites: tuple[float, ...]
) -> UInt8[NDArray[np.uint8], "h w"]:
    """Deep greys to 8 bits: white is the first of ``whites`` that no pixel exceeds, or else the brightest pixel."""
    finite: NDArray[np.float32] = np.nan_to_num(grey, posinf=0.0, neginf=0.0)
    top = float(finite.max())
    white = next((w for w in whites if top <= w), top)
    scaled: NDArray[np.uint8] = np.rint(finite.clip(0, white) * (255 / white)).astype(np.uint8)
    return scaled
