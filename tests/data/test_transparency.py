"""Transparency lies on white, whatever kind of file it comes in, as a portrait and as a driver."""

import av
import numpy as np
import pytest
from PIL import Image

from synhead.data.image import read_image
from synhead.data.video import read_frames

SIDE = 96
STILLS = ["still.png", "still.webp", "palette.png"]
MOVING = ["moving.png", "moving.webp", "moving.gif", "moving_palette.png", "moving_grey.png"]
VIDEOS = {"a.mov": ("qtrle", "argb"), "a.mkv": ("ffv1", "yuva444p")}
CRISP = ["palette.png", "moving.gif", "moving_palette.png"]
"""Kinds that know no half."""


def see_through(green, *, crisp=False):
    """A red strip, one that is half or fully transparent, and one whose hidden blue is not to be seen."""
    image = np.zeros((SIDE, SIDE, 4), np.uint8)
    image[:] = np.repeat(((200, green, 30, 255), (200, green, 30, 0 if crisp else 128), (0, 0, 255, 0)), 32, axis=0)
    return Image.fromarray(image)


def save(path):
    images = [see_through(green, crisp=path.name in CRISP) for green in (30, 60, 90)]
    if "palette" in path.name:
        images = [image.quantize(16) for image in images]
    if "grey" in path.name:
        images = [image.convert("LA") for image in images]
    if path.name in STILLS:
        images[-1].save(path, lossless=True)
    elif path.name in MOVING:
        images[-1].save(path, save_all=True, append_images=images, duration=40, disposal=2, lossless=True)
    else:
        codec, pix_fmt = VIDEOS[path.name]
        write_video(path, codec, pix_fmt, images)
    return path


def write_video(path, codec, pix_fmt, images):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, pix_fmt
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgba").reformat(format=pix_fmt)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def assert_on_white(image, name):
    strip = image.shape[1] // 3
    found = [image[strip, strip * i + strip // 2].astype(int) for i in range(3)]
    opaque, half = ((116,) * 3, (185,) * 3) if "grey" in name else ((200, 90, 30), (227, 172, 142))
    half = (255, 255, 255) if name in CRISP else half
    for colour, wanted in zip(found, (opaque, half, (255, 255, 255)), strict=True):
        assert np.abs(colour - wanted).max() <= 3
    assert image[..., 0].min() >= found[0][0] - 3  # hidden colours do not run into what is shown


@pytest.mark.parametrize("name", [*STILLS, *MOVING])
def test_portraits(tmp_path, name):
    assert_on_white(read_image(save(tmp_path / name)), name)


@pytest.mark.parametrize("size", [None, SIDE // 2])
@pytest.mark.parametrize("name", [*MOVING, *VIDEOS])
def test_drivers(tmp_path, name, size):
    frames = list(read_frames(save(tmp_path / name), size=size))
    assert len(frames) >= 3
    assert_on_white(frames[-1].image, name)


def test_the_unset_fourth_byte_of_uncompressed_pixels_is_not_transparency(tmp_path):
    path = write_video(tmp_path / "a.avi", "rawvideo", "bgra", [Image.new("RGBA", (SIDE, SIDE), (200, 30, 40, 0))])
    (frame,) = read_frames(path)
    assert frame.image[5, 5].tolist() == [200, 30, 40]
