"""Colours of tagged videos: patches whose luma and chroma are calculated here, by the standards."""

from fractions import Fraction

import av
import numpy as np
import pytest

from synhead.data.decode import decode_clip, decode_frames
from synhead.data.records import Clip
from synhead.data.tone_mapping import hdr_to_srgb
from synhead.data.video import read_frames

BT709, BT470BG, BT601, BT2020 = 1, 5, 6, 9
WEIGHTS = {BT709: (0.2126, 0.0722), BT470BG: (0.299, 0.114), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}
"""Shares of red and blue in the luma, by the tag."""
LIMITED, FULL = 1, 2
PQ, HLG = 16, 18
COLOURS = np.array(
    [
        (255, 255, 255),
        (0, 0, 0),
        (128, 128, 128),
        (200, 150, 130),
        (90, 60, 50),
        (30, 160, 60),
        (220, 40, 50),
        (20, 40, 200),
    ]
)
DIM = np.array(
    [
        (0, 0, 0),
        (188, 188, 188),
        (128, 128, 128),
        (150, 110, 95),
        (90, 60, 50),
        (30, 140, 60),
        (180, 40, 50),
        (20, 40, 170),
    ]
)
"""No brighter than half of white."""
SIDE, HEIGHT = 16, 64


def planes(rgb, matrix, span, bits):
    """Y', Cb and Cr of R'G'B' from 0 to 1."""
    red, blue = WEIGHTS[matrix]
    luma = rgb @ (red, 1 - red - blue, blue)
    chroma = (rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)
    step, most = 2 ** (bits - 8), 2**bits - 1
    black, height, width = (0, most, most) if span == FULL else (16 * step, 219 * step, 224 * step)
    codes = [black + height * luma, *(128 * step + width * each for each in chroma)]
    return [np.clip(np.rint(code), 0, most).astype(np.uint8 if bits == 8 else np.uint16) for code in codes]


def write(path, rgb, *, matrix=BT709, span=LIMITED, transfer=1, primaries=1, pix_fmt="yuv420p", frames=1):
    """Patches side by side, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE * len(rgb), HEIGHT, pix_fmt
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_trc, context.color_primaries = (
            matrix,
            span,
            transfer,
            primaries,
        )
        frame = av.VideoFrame(stream.width, HEIGHT, pix_fmt)
        frame.colorspace, frame.color_range = matrix, span
        for plane, row in zip(frame.planes, planes(rgb, matrix, span, 10 if "10" in pix_fmt else 8), strict=True):
            content = np.zeros((plane.height, plane.line_size // row.itemsize), row.dtype)
            content[:, : plane.width] = row.repeat(SIDE * plane.width // frame.width)
            plane.update(content.tobytes())
        for index in range(frames):
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def patches(path, **options):
    image = next(iter(read_frames(path, **options))).image
    return image[image.shape[0] // 2, SIDE // 2 :: SIDE].astype(int)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_colours_are_what_the_tags_say(tmp_path, matrix, span, pix_fmt):
    path = write(tmp_path / "a.mkv", COLOURS / 255, matrix=matrix, span=span, pix_fmt=pix_fmt)
    assert np.abs(patches(path) - COLOURS).max() <= 3


def light(srgb):
    code = np.asarray(srgb) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def matrix_to_xyz(*primaries):
    """Of red, green, blue, by their chromaticities and white D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    return columns * np.linalg.solve(columns, [0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])


XYZ_OF_709 = matrix_to_xyz((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
XYZ_OF_2020 = matrix_to_xyz((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))


def hdr_codes(nits, transfer):
    """R'G'B' of BT.2020 for light shown with BT.709's primaries."""
    shown = np.clip(nits @ np.linalg.solve(XYZ_OF_2020, XYZ_OF_709).T, 0, None)
    if transfer == PQ:
        power = (shown / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    luminance = (shown @ (0.2627, 0.6780, 0.0593))[:, None] / 1000
    scene = shown / 1000 * np.maximum(luminance, 1e-9) ** (1 / 1.2 - 1)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene, 1) - 0.28466892) + 0.55991073
    )


def write_hdr(path, nits, transfer, *, frames=1):
    rgb = hdr_codes(np.asarray(nits), transfer)
    return write(path, rgb, matrix=BT2020, transfer=transfer, primaries=9, pix_fmt="yuv420p10le", frames=frames)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("size", [None, 64])
def test_hdr_up_to_half_of_white_looks_as_the_same_light_in_sdr(tmp_path, transfer, size):
    """White is at 203 nits."""
    path = write_hdr(tmp_path / "a.mkv", light(DIM) * 203, transfer)
    found = patches(path) if size is None else patches(path, size=HEIGHT, fit="crop")
    expected = DIM if size is None else DIM[2:6]  # the square in the middle
    assert np.abs(found - expected).max() <= 4


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr_clips_are_trained_on_as_they_are_read_otherwise(tmp_path, transfer):
    """Two frames of four patches: a square."""
    path = write_hdr(tmp_path / "a.mkv", light(DIM[2:6]) * 203, transfer, frames=2)
    clip = Clip(name="a", person="a", path=path)
    for frames in (decode_clip(clip, HEIGHT), decode_frames(clip, (0, 1), HEIGHT)):
        found = frames[:, HEIGHT // 2, SIDE // 2 :: SIDE].astype(int)
        assert np.abs(found - DIM[2:6]).max() <= 4
    shrunk = decode_clip(clip, HEIGHT // 2)[1, 0, SIDE // 4 :: SIDE // 2].astype(int)
    assert np.abs(shrunk - DIM[2:6]).max() <= 4


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_light_is_pressed_into_what_is_left(tmp_path, transfer):
    """Greys go on growing to the brightest that is kept, coloured light keeps its hue."""
    greys = np.array([100, 150, 203, 300, 500, 700, 999])
    found = patches(write_hdr(tmp_path / "a.mkv", greys[:, None].repeat(3, 1), transfer))
    assert np.ptp(found, axis=1).max() <= 2
    assert np.diff(found[:, 0]).min() >= 3
    assert 215 <= found[2, 0] <= 232
    assert found[-1, 0] >= 254
    warm = patches(write_hdr(tmp_path / "b.mkv", np.array([[600, 300, 150]] * 2), transfer))
    ratio = light(warm[0])
    assert ratio[1] / ratio[0] == pytest.approx(0.5, abs=0.03)
    assert ratio[2] / ratio[0] == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_codes_at_the_ends(transfer):
    ends = np.array([[[0, 0, 0], [65535, 65535, 65535], [65535, 0, 0], [0, 65535, 0], [0, 0, 65535]]], np.uint16)
    found = hdr_to_srgb(ends.repeat(130, axis=0), transfer)[129]
    assert found[0].tolist() == [0, 0, 0]
    assert found[1].min() >= 254
    assert [each.argmax() for each in found[2:]] == [0, 1, 2]
