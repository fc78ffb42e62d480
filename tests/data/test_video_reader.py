import itertools
import re
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, features
from video_factory import NTSC, Tone, damage, level, picture, set_display_matrix, write_clip

from synhead.data.errors import MediaError
from synhead.data.video import VideoReader, probe, read_frame, read_frames

IRREGULAR = [Fraction(t, 90000) for t in (0, 3000, 7500, 8000, 20000, 23003)]


def test_probe(tmp_path):
    info = probe(write_clip(tmp_path / "a.mp4", 7, size=(96, 64), tone=Tone()))
    assert (info.width, info.height, info.rate, info.frames, info.has_audio) == (96, 64, NTSC, 7, True)
    assert info.duration_s == pytest.approx(float(7 / NTSC), abs=1e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.ts"])
def test_rate_and_times_are_exact_in_each_container(tmp_path, name):
    path = write_clip(tmp_path / name, 30)
    frames = list(read_frames(path))
    assert probe(path).rate == NTSC
    assert [frame.time - frames[0].time for frame in frames] == [i / NTSC for i in range(30)]
    assert {frame.duration for frame in frames} == {1 / NTSC}
    assert [level(frame.image) for frame in frames[:25]] == list(range(25))


def test_variable_rate_keeps_its_times(tmp_path):
    path = write_clip(tmp_path / "vfr.mp4", IRREGULAR, time_base=Fraction(1, 90000))
    assert [frame.time for frame in read_frames(path)] == IRREGULAR


def test_frames_are_a_stream(tmp_path):
    """The second frame is not decoded into RGB before it is asked for."""
    with VideoReader(write_clip(tmp_path / "a.mp4", 5)) as reader:
        frames = iter(reader)
        next(frames)
        converted = []
        reader._convert, convert = (lambda picture: converted.append(1) or convert(picture)), reader._convert
        assert not converted
        next(frames)
        assert len(converted) == 1


TURNS = {
    "upright": ((1, 0, 0, 1), lambda image: image),
    "clockwise": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "half": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "anticlockwise": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside_down": ((1, 0, 0, -1), np.flipud),
    "transposed": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "anti_transposed": ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix(tmp_path, turn):
    matrix, shown = TURNS[turn]
    path = set_display_matrix(write_clip(tmp_path / "a.mp4", 2, size=(96, 64)), matrix)
    expected = shown(picture(0, 96, 64))
    found = next(iter(read_frames(path))).image
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 6
    info = probe(path)
    assert (info.height, info.width) == expected.shape[:2]


def test_rotation_agrees_with_ffmpeg(tmp_path):
    path = set_display_matrix(write_clip(tmp_path / "a.mp4", 1), TURNS["anticlockwise"][0])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == 90


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_rotated_frames_fit(tmp_path, fit):
    path = set_display_matrix(write_clip(tmp_path / "a.mp4", 1, size=(160, 80)), TURNS["clockwise"][0])
    image = next(iter(read_frames(path, size=40, fit=fit))).image
    assert image.shape == (40, 40, 3)
    bars = image[:, :8].max() < 30 and image[:, 32:].max() < 30
    assert bars == (fit == "pad")
    red = image[10, 30].astype(int)  # the upper left quarter, turned to the upper right
    assert red[0] - red[1] > 120 if fit != "pad" else True


@pytest.mark.parametrize(("height", "pix_fmt"), [(64, "yuv420p"), (720, "yuv420p"), (64, "yuv444p"), (64, "yuvj420p")])
def test_colours(tmp_path, height, pix_fmt):
    """Untagged video is BT.601 below 720 lines, BT.709 from there; tagged video is what it says."""
    path, colour = tmp_path / "colour.mp4", (30, 180, 60)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, height, pix_fmt
        picture_ = av.VideoFrame.from_ndarray(np.full((height, 64, 3), colour, dtype=np.uint8), format="rgb24")
        space = "ITU709" if height >= 720 else "ITU601"
        container.mux(stream.encode(picture_.reformat(format=pix_fmt, dst_colorspace=space)))
        container.mux(stream.encode(None))
    image = next(iter(read_frames(path))).image
    assert np.abs(image[8, 8].astype(int) - colour).max() <= 4


def test_non_square_pixels_are_shown_square(tmp_path):
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, 64, 64), format="rgb24")))
        container.mux(stream.encode(None))
    assert next(iter(read_frames(path))).image.shape == (64, 128, 3)
    assert (probe(path).width, probe(path).height) == (128, 64)


@pytest.mark.parametrize(("later", "shown"), [((48, 32), (96, 64)), ((192, 128), (96, 64)), ((64, 96), (43, 64))])
def test_frames_that_change_their_size_are_shown_as_large_as_the_first(tmp_path, later, shown):
    """As in recordings of video calls; crops and outputs have one size for all frames."""
    parts = [write_clip(tmp_path / f"{i}.ts", 3, size=size) for i, size in enumerate([(96, 64), later])]
    path = tmp_path / "call.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = [frame.image for frame in read_frames(path)]
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 6
    margin = (96 - shown[0]) // 2
    found, wanted = frames[5][:, margin : margin + shown[0]], picture(2, *shown)
    assert np.abs(found.astype(int) - wanted).mean() < 6
    assert frames[5][:, : max(0, margin - 1)].max(initial=0) < 30


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_a_photograph_in_a_container_of_videos_is_no_video(tmp_path, kind):
    """Phones write HEIC: FFmpeg opens it as a video of one frame, or as one tile of the picture."""
    path = tmp_path / f"photo.{kind}"
    Image.new("RGB", (64, 64), "red").save(path, "AVIF")
    content = path.read_bytes()
    assert content[4:12] == b"ftypavif"
    path.write_bytes(content.replace(b"ftypavif", b"ftyp" + kind.encode(), 1))
    with pytest.raises(MediaError, match="still image"):
        probe(path)


def test_one_frame_by_index(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 9)
    assert level(read_frame(path, 7).image) == 7
    with pytest.raises(MediaError, match="from 0 to 8"):
        read_frame(path, 9)


def test_moving_gif_is_a_video(tmp_path):
    images = [Image.new("L", (64, 64), 40 * i) for i in range(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[40, 100, 40, 40])
    frames = list(read_frames(tmp_path / "a.gif"))
    assert [frame.time for frame in frames] == [0, Fraction(1, 25), Fraction(14, 100), Fraction(18, 100)]


SHOWN_MS = [40, 100, 40, 200]
MOVING = {"a.png": "PNG", "a.apng": "PNG", "a.webp": "WEBP", "a.avif": "AVIF"}


def moving(path, *, count=4, durations=SHOWN_MS, **options):
    """An animated picture whose levels count."""
    images = [Image.fromarray(picture(i, 64, 48)) for i in range(count)]
    kind = MOVING[path.name]
    options |= {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}}.get(kind, {})
    images[0].save(path, kind, save_all=True, append_images=images[1:], duration=durations, **options)
    return path


@pytest.mark.parametrize("name", MOVING)
def test_animated_pictures_are_videos_with_their_own_durations(tmp_path, name):
    if MOVING[name] == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    path = moving(tmp_path / name)
    with VideoReader(path) as reader:
        info, frames = reader.info, list(reader)
    assert [round(frame.time * 1000) for frame in frames] == [0, 40, 140, 180]
    assert [round(frame.duration * 1000) for frame in frames][:3] == SHOWN_MS[:3]
    assert [level(frame.image) for frame in frames] == [0, 1, 2, 3]
    assert (info.width, info.height, info.has_audio) == (64, 48, False)
    assert info.frames == (None if MOVING[name] == "PNG" else 4)  # FFmpeg does not say how many
    assert frames[1].image[4, 4].tolist() == pytest.approx([220, 30, 30], abs=12)
    assert level(read_frame(path, 2, size=32).image) == 2


def test_animated_webp_lasts_as_browsers_show_it_and_lies_on_white(tmp_path):
    """No time at all means a tenth of a second."""
    clear = [Image.new("RGBA", (64, 64), (0, 0, 0, 0)), Image.new("RGBA", (64, 64), (0, 0, 0, 255))]
    path = tmp_path / "a.webp"
    clear[0].save(path, save_all=True, append_images=clear[1:], duration=[0, 30], lossless=True)
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.info.duration_s == pytest.approx(0.13)
    assert [(frame.time, frame.duration) for frame in frames] == [
        (0, Fraction(1, 10)),
        (Fraction(1, 10), Fraction(3, 100)),
    ]
    assert [frame.image[9, 9].tolist() for frame in frames] == [[255] * 3, [0] * 3]


def test_damaged_animated_webp(tmp_path):
    path = moving(tmp_path / "a.webp", count=20, durations=40)
    content = path.read_bytes()
    third = [found.start() for found in re.finditer(b"ANMF", content)][2]
    path.write_bytes(content[: third + 40] + bytes(30) + content[third + 70 :])
    with VideoReader(path) as reader:
        assert [level(frame.image) for frame in reader] == [0, 1]
        assert reader.skipped == 18
    path.write_bytes(content[: third + 20])
    with pytest.raises(MediaError, match=r"a\.webp"):
        probe(path)


def media_bytes(tmp_path, **options) -> bytes:
    return write_clip(tmp_path / "whole.mp4", 40, **options).read_bytes()


def bad_files(tmp_path) -> dict[str, tuple[bytes | None, str]]:
    whole = media_bytes(tmp_path)
    return {
        "missing.mp4": (None, "does not exist"),
        "empty.mp4": (b"", "empty"),
        "text.mp4": (b"this is no video\n" * 200, "give a video"),
        "noise.mp4": (np.random.default_rng(0).bytes(5000), "give a video"),
        "headless.mp4": (whole[: whole.index(b"moov")], "give a video|has no frame"),
        "playlist.mp4": (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://localhost:9/a.ts\n", "MP4"),
    }


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4", "noise.mp4", "headless.mp4", "playlist.mp4"])
def test_bad_videos(tmp_path, name):
    content, remedy = bad_files(tmp_path)[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=remedy) as caught:
        probe(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_folder_is_no_video(tmp_path):
    with pytest.raises(MediaError, match="folder"):
        probe(tmp_path)


def test_video_without_frames(tmp_path):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.start_encoding()
    with pytest.raises(MediaError, match=r"none\.mp4"):
        probe(path)


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), dtype=np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match="no video track"):
        probe(path)


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.webp"])
def test_a_still_image_is_no_video(tmp_path, name):
    Image.new("RGB", (64, 64)).save(tmp_path / name)
    with pytest.raises(MediaError, match="swapped"):
        probe(tmp_path / name)


def test_small_video(tmp_path):
    with pytest.raises(MediaError, match="at least 16"):
        probe(write_clip(tmp_path / "a.mkv", 1, size=(8, 8), codec="mpeg4"))


def test_damaged_frames_are_skipped_and_counted(tmp_path):
    path = write_clip(tmp_path / "a.avi", 20, codec="mjpeg", pix_fmt="yuvj420p", rate=Fraction(25))
    damage(path, {7, 8})
    with VideoReader(path) as reader:
        frames = list(reader)
        assert reader.skipped == 2
    assert [round(frame.time * 25) for frame in frames] == [*range(7), *range(9, 20)]
    assert [level(frame.image) for frame in frames] == [*range(7), *range(9, 20)]


def test_damaged_h264_does_not_end_the_video(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 20)
    damage(path, {7, 8})
    frames = list(read_frames(path))
    assert len(frames) >= 17
    assert frames[-1].time == 19 / NTSC


def test_damaged_first_frame(tmp_path):
    path = write_clip(tmp_path / "a.avi", 5, codec="mjpeg", pix_fmt="yuvj420p", rate=Fraction(25))
    damage(path, {0})
    with VideoReader(path) as reader:
        assert len(list(reader)) == 4
        assert reader.skipped == 1


@pytest.mark.parametrize("reordered", [0, 3])
def test_avi_keeps_its_pace_and_its_pauses(tmp_path, reordered):
    """It has no times of presentation: B-frames made FFmpeg's guess go to and fro."""
    numbers = [*range(10), *range(15, 25)]
    path = write_clip(tmp_path / "a.avi", [Fraction(n, 25) for n in numbers], rate=Fraction(25), reordered=reordered)
    frames = list(read_frames(path))
    assert [level(frame.image) for frame in frames] == list(range(20))
    steps = [(b.time - a.time) * 25 for a, b in itertools.pairwise(frames)]
    assert sorted(steps) == [1] * 18 + [6]


def test_truncated_video_gives_what_is_there(tmp_path):
    path = write_clip(tmp_path / "a.mkv", 40)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    assert 5 < len(list(read_frames(path))) < 40
