"""Embedded ICC profiles, made here tag by tag; the colours expected of them are calculated from the standards."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from synhead.data.image import read_image

D50 = (0.9642, 1.0, 0.8249)
P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
ADOBE = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
"""XYZ of red, green and blue, adapted to D50."""
SRGB_CURVE = b"para" + struct.pack(
    ">IHH5i", 0, 3, 0, *(round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
COLOURS = np.array(
    [(255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 150, 130), (90, 60, 50), (60, 110, 90), (180, 70, 80)], np.uint8
)
SQUARES = COLOURS[None].repeat(4, axis=1).repeat(32, axis=0)


def gamma(value):
    return b"curv" + struct.pack(">IIH", 0, 1, round(value * 256))


def xyz(values):
    return b"XYZ " + struct.pack(">I3i", 0, *(round(v * 65536) for v in values))


def icc(space, tags, *, kind=b"mntr", connection=b"XYZ ", name="made by a test"):
    """A profile of ICC version 2.4 (or rather 4.2, for parametric curves)."""
    described = b"desc" + struct.pack(">II", 0, len(name) + 1) + name.encode() + bytes(1 + 4 + 4 + 2 + 1 + 67)
    tags = {b"desc": described, b"wtpt": xyz(D50), b"cprt": b"text" + bytes(5), **tags}
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += tag + struct.pack(">II", at + len(data), len(content))
        data += padded
    size = at + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, kind, space, connection) + bytes(12) + b"acsp"
    header += bytes(28) + xyz(D50)[8:]
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + data


def rgb_profile(primaries, curve, **options):
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True))
    return icc(b"RGB ", {**tags, **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)}, **options)


def grey_profile(curve):
    return icc(b"GRAY", {b"kTRC": curve})


def linear(code):
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def encoded(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def in_srgb(colours, primaries, curve):
    """What a colour of those primaries looks like in sRGB, as the eye and not as the codes have it."""
    light = curve(colours / 255) @ np.array(primaries)
    return encoded(light @ np.linalg.inv(np.array(SRGB)))


def squares(path):
    return read_image(path)[16, 2::4].astype(int)


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["photo.png", "photo.tiff", "photo.webp", "photo.jpg"])
def test_a_photo_in_display_p3_is_read_in_the_colours_that_it_means(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {"quality": 100, "subsampling": 0}
    profile = rgb_profile(P3, SRGB_CURVE, name="Display P3")
    path = saved(tmp_path / name, Image.fromarray(SQUARES), icc_profile=profile, **options)
    expected = in_srgb(COLOURS, P3, linear)
    assert np.abs(expected - COLOURS).max() > 15  # the colours differ enough to be seen
    assert np.abs(squares(path) - expected).max() <= (4 if name.endswith("jpg") else 1.5)


def test_a_photo_in_adobe_rgb(tmp_path):
    profile = rgb_profile(ADOBE, gamma(2.19921875))
    path = saved(tmp_path / "photo.png", Image.fromarray(SQUARES), icc_profile=profile)
    assert np.abs(squares(path) - in_srgb(COLOURS, ADOBE, lambda code: code**2.19921875)).max() <= 1.5


def test_transparent_and_turned_pictures_have_their_profile_applied_too(tmp_path):
    profile, exif = rgb_profile(P3, SRGB_CURVE), Image.Exif()
    exif[0x0112] = 3  # upside down
    image = Image.fromarray(SQUARES).convert("RGBA")
    image.paste((0, 90, 0, 0), (0, 0, 4, 32))
    path = saved(tmp_path / "photo.png", image, icc_profile=profile, exif=exif)
    expected = in_srgb(COLOURS, P3, linear)
    expected[0] = 255  # nothing there: the white behind it
    assert np.abs(squares(path) - expected[::-1]).max() <= 1.5


def test_palette_in_display_p3(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(SQUARES).quantize(16), icc_profile=rgb_profile(P3, SRGB_CURVE))
    assert np.abs(squares(path) - in_srgb(COLOURS, P3, linear)).max() <= 4


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_whose_codes_are_linear_light(tmp_path, mode):
    greys = COLOURS[:, 1]
    image = Image.fromarray(SQUARES[..., 1]).convert("LA" if mode == "LA" else "L")
    if mode == "I;16":
        image = Image.fromarray(SQUARES[..., 1].astype(np.uint16) * 257)
    found = squares(saved(tmp_path / "grey.png", image, icc_profile=grey_profile(gamma(1.0))))
    assert np.abs(found - encoded(greys / 255)[:, None]).max() <= 1.5


def test_ink_is_read_as_its_profile_says(tmp_path):
    """Two levels of four inks: paper, and magenta with yellow, whose colours stand in the table of the profile."""
    lab = {0: (100, 0, 0), 6: (50, 55, 35)}  # C is the slowest to change, K the fastest: M and Y are bits 2 and 1
    table = bytes(
        v
        for n in range(16)
        for v in [round(lab.get(n, (0, 0, 0))[0] * 2.55), *(c + 128 for c in lab.get(n, (0, 0, 0))[1:])]
    )
    straight = bytes(range(256))
    lut = b"mft1" + struct.pack(">I4B9i", 0, 4, 3, 2, 0, *(65536 * (n % 4 == 0) for n in range(9)))
    tags = {b"A2B0": lut + straight * 4 + table + straight * 3}
    profile = icc(b"CMYK", tags, kind=b"prtr", connection=b"Lab ")
    image = Image.new("CMYK", (32, 32))
    image.paste((0, 255, 255, 0), (16, 0, 32, 32))
    found = read_image(saved(tmp_path / "ink.tiff", image, icc_profile=profile)).astype(int)
    height = (50 + 16) / 116
    light = np.array([height + 55 / 500, height, height - 35 / 200]) ** 3 * D50
    assert np.abs(found[16, 4] - 255).max() <= 1
    assert np.abs(found[16, 28] - encoded(light @ np.linalg.inv(np.array(SRGB)))).max() <= 2


SRGB_PROFILES = {
    "of Pillow": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "without the name": rgb_profile(SRGB, SRGB_CURVE, name="camera"),
}


@pytest.mark.parametrize("which", SRGB_PROFILES)
def test_srgb_by_profile_stays_as_it_is_to_the_byte(tmp_path, which):
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / "photo.png", Image.fromarray(noise), icc_profile=SRGB_PROFILES[which])
    np.testing.assert_array_equal(read_image(path), noise)


WHOLE = rgb_profile(P3, SRGB_CURVE)
UNUSABLE = {
    "no profile": b"this is no profile",
    "cut off": WHOLE[:150],
    "without its curves": WHOLE.replace(b"rTRC", b"xTRC"),
    "its curves broken": WHOLE.replace(b"para", b"nope"),
    "of another kind of picture": grey_profile(gamma(1.0)),
}


@pytest.mark.parametrize("which", UNUSABLE)
def test_a_profile_that_cannot_be_used_is_ignored(tmp_path, which):
    path = saved(tmp_path / "photo.png", Image.fromarray(SQUARES), icc_profile=UNUSABLE[which])
    np.testing.assert_array_equal(read_image(path), SQUARES)
