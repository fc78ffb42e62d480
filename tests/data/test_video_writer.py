from fractions import Fraction

import av
import numpy as np
import pytest
from video_factory import NTSC, Tone, audio_end, level, onset, picture, video_times, write_clip

from synhead.data.errors import MediaError
from synhead.data.video import VideoWriter, probe, read_frames

SIZE = (64, 64)


def write(path, frames=6, *, times=None, duration=None, **options) -> None:
    with VideoWriter(path, **{"rate": NTSC, "size": SIZE, **options}) as writer:
        for i in range(len(times) if times else frames):
            writer.write(picture(i, *writer._spec.size), time=times[i] if times else None, duration=duration)


def packets(path, kind="audio"):
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(**{kind: 0}) if p.size]


@pytest.mark.parametrize("name", ["a.mp4", "a.m4v", "a.mov", "a.mkv"])
@pytest.mark.parametrize("count", [1, 7])
def test_rate_is_exact(tmp_path, name, count):
    write(tmp_path / name, count)
    info = probe(tmp_path / name)
    assert info.rate == NTSC
    assert [f.time for f in read_frames(tmp_path / name)] == [i / NTSC for i in range(count)]
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_h264_in_420_with_a_quick_start(tmp_path):
    write(tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_colours_survive(tmp_path):
    colour = np.full((64, 64, 3), (30, 180, 60), dtype=np.uint8)
    with VideoWriter(tmp_path / "a.mp4", rate=NTSC, size=SIZE, crf=1) as writer:
        writer.write(colour)
    assert np.abs(next(iter(read_frames(tmp_path / "a.mp4"))).image.astype(int) - colour).max() <= 3


def test_odd_sizes_are_made_even(tmp_path):
    write(tmp_path / "a.mp4", 2, size=(63, 33))
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height) == (64, 34)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_variable_times_are_exact_and_begin_at_zero(tmp_path, name):
    times = [Fraction(t, 90000) for t in (90000, 93000, 97500, 98000, 700000)]
    write(tmp_path / name, times=times, duration=Fraction(1, 2), time_base=Fraction(1, 90000))
    assert video_times(tmp_path / name) == [t - 1 for t in times]
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == pytest.approx(700000 / 90000 - 1 + 0.5, abs=2e-3)


@pytest.mark.parametrize(
    ("name", "source", "codec", "mode"),
    [
        ("a.mp4", "d.mp4", "aac", "copied"),
        ("a.mov", "d.mp4", "aac", "copied"),
        ("a.mkv", "d.mp4", "aac", "copied"),
        ("a.mp4", "d.mkv", "aac", "copied"),
        ("a.mp4", "d.ts", "aac", "copied"),
        ("a.mp4", "d.mp4", "libmp3lame", "copied"),
        ("a.mp4", "d.mkv", "libopus", "copied"),
        ("a.mov", "d.mkv", "libopus", "transcoded"),
        ("a.mov", "d.mov", "pcm_s16le", "copied"),
        ("a.mp4", "d.mov", "pcm_s16le", "transcoded"),
        ("a.mp4", "d.avi", "pcm_s16le", "transcoded"),
        ("a.mp4", "d.mkv", "flac", "copied"),
    ],
)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(1, 4)])
def test_sound_keeps_its_place(tmp_path, name, source, codec, mode, start):
    if source.endswith("avi") and start:
        pytest.skip("AVI has no start times")
    picture_options = {"codec": "mjpeg", "pix_fmt": "yuvj420p"} if source.endswith("avi") else {}
    tone = Tone(codec=codec, start=start, burst=0.6)
    driver = write_clip(tmp_path / source, 30, tone=tone, **picture_options)
    first = next(iter(read_frames(driver)))
    with VideoWriter(tmp_path / name, rate=NTSC, size=SIZE, audio_from=driver) as writer:
        assert writer.audio == mode
        for frame in read_frames(driver):
            writer.write(picture(0, *SIZE), time=frame.time)
    assert first.time >= 0
    assert onset(tmp_path / name) == pytest.approx(onset(driver), abs=0.012)
    assert onset(tmp_path / name) == pytest.approx(0.6, abs=0.033)
    if mode == "copied" and source.endswith("mp4") and not start:
        kept = [data for _, data in packets(tmp_path / name)]
        assert kept == [data for _, data in packets(driver)][: len(kept)]


def test_late_pictures_keep_their_distance_to_the_sound(tmp_path):
    """The file's picture begins at 0.2 s, its sound at 0: the output begins with the picture, sound cut to it."""
    times = [Fraction(1, 5) + i / NTSC for i in range(30)]
    tone = Tone(burst=0.6)
    driver = write_clip(tmp_path / "d.mp4", times, tone=tone, time_base=Fraction(1, 30000))
    write(tmp_path / "a.mp4", times=times, audio_from=driver, time_base=Fraction(1, 30000))
    assert onset(tmp_path / "a.mp4") == pytest.approx(0.4, abs=0.033)
    assert packets(tmp_path / "a.mp4")[0][0] >= Fraction(-3, 50)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_is_cut_to_the_pictures(tmp_path, codec):
    driver = write_clip(tmp_path / "d.mov", 30, tone=Tone(codec=codec, seconds=3))
    write(tmp_path / "a.mp4", 30, audio_from=driver)
    assert audio_end(tmp_path / "a.mp4") == pytest.approx(float(30 / NTSC), abs=0.034)


def test_sound_shorter_than_the_pictures(tmp_path):
    driver = write_clip(tmp_path / "d.mp4", 30, tone=Tone(seconds=0.3, burst=0.1))
    write(tmp_path / "a.mp4", 30, audio_from=driver)
    assert len(video_times(tmp_path / "a.mp4")) == 30
    assert audio_end(tmp_path / "a.mp4") < 0.4


def test_silent_driver(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", rate=NTSC, size=SIZE, audio_from=write_clip(tmp_path / "d.mp4")) as writer:
        assert writer.audio == "none"
        writer.write(picture(0, *SIZE))
    assert not probe(tmp_path / "a.mp4").has_audio


def test_sound_is_interleaved(tmp_path):
    """Sound is written beside the picture it belongs to, not gathered: the file's order shows it."""
    driver = write_clip(tmp_path / "d.mp4", 120, tone=Tone(seconds=4))
    write(tmp_path / "a.mkv", 120, audio_from=driver)
    with av.open(str(tmp_path / "a.mkv")) as container:
        order = [(p.stream.type, float(p.pts * p.time_base)) for p in container.demux() if p.size]
    picture_s = 0.0
    for kind, moment in order:
        picture_s = moment if kind == "video" else picture_s
        assert abs(moment - picture_s) < 0.2


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_earlier_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")

    def fail_half_way():
        with VideoWriter(path, rate=NTSC, size=SIZE) as writer:
            for i in range(100):
                writer.write(picture(i, *SIZE))
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(MediaError, match="no frame"), VideoWriter(tmp_path / "a.mp4", rate=NTSC, size=SIZE):
        pass
    assert not list(tmp_path.iterdir())


def test_earlier_file_stands_until_the_end(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"earlier")
    with VideoWriter(path, rate=NTSC, size=SIZE) as writer:
        writer.write(picture(0, *SIZE))
        assert path.read_bytes() == b"earlier"
    assert len(list(read_frames(path))) == 1


def test_a_linked_output_is_written_where_it_points(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "a.mp4").symlink_to(tmp_path / "there" / "b.mp4")
    write(tmp_path / "a.mp4", 1)
    assert (tmp_path / "a.mp4").is_symlink()
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["b.mp4"]


@pytest.mark.parametrize("alias", ["same", "symlink", "hardlink", "dots"])
def test_output_may_not_be_the_input(tmp_path, alias):
    driver = write_clip(tmp_path / "d.mp4", 2)
    output = {"same": driver, "dots": tmp_path / "x" / ".." / "d.mp4"}.get(alias, tmp_path / "alias.mp4")
    (tmp_path / "x").mkdir()
    if alias == "symlink":
        output.symlink_to(driver)
    if alias == "hardlink":
        output.hardlink_to(driver)
    before = driver.read_bytes()
    with pytest.raises(MediaError, match="is the input"):
        VideoWriter(output, rate=NTSC, size=SIZE, audio_from=driver)
    assert driver.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "remedy"), [("no/a.mp4", "create it"), ("a.gif", "end in"), ("dir.mp4", "folder"), ("a", "end in")]
)
def test_bad_outputs(tmp_path, name, remedy):
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(MediaError, match=remedy):
        VideoWriter(tmp_path / name, rate=NTSC, size=SIZE)


def test_unwritable_folder(tmp_path, monkeypatch):
    """By a refusing file system, as tests may run as root, whom permissions do not stop."""

    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(MediaError, match="folder you may write to"):
        VideoWriter(tmp_path / "a.mp4", rate=NTSC, size=SIZE)


def test_crf_out_of_range(tmp_path):
    with pytest.raises(MediaError, match="crf"):
        VideoWriter(tmp_path / "a.mp4", rate=NTSC, size=SIZE, crf=99)


def test_higher_crf_is_smaller(tmp_path):
    for crf in (10, 40):
        write(tmp_path / f"{crf}.mp4", 10, crf=crf)
    assert (tmp_path / "40.mp4").stat().st_size < (tmp_path / "10.mp4").stat().st_size


def test_frames_come_back_in_order(tmp_path):
    write(tmp_path / "a.mp4", 20)
    assert [level(frame.image) for frame in read_frames(tmp_path / "a.mp4")] == list(range(20))
