"""All kinds keep the same promise: whole under its name, or nothing, and never a loss for the user."""

import json
import os
import resource
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.output_kinds import FOLDER, KINDS, SIZE, STILLS, VIDEOS, contents, first_file, pictures, spec, write

from synhead.data.errors import MediaError
from synhead.data.image import read_image, write_image
from synhead.data.outputs import open_output
from synhead.data.video import probe, read_frames


class FailingMark:
    """Marking that breaks at the last moment."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def packet(self, path) -> str:
        return f"packet of {path.name}"

    def finish(self, path) -> None:
        assert path.stat().st_size > 0
        raise self._error


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_written_and_replaced_whole(tmp_path, name):
    for _ in range(2):
        write(tmp_path / name)
        assert [p.name for p in tmp_path.iterdir()] == [name]
    with Image.open(first_file(tmp_path / name)) if name not in VIDEOS else _first_frame(tmp_path / name) as image:
        assert np.abs(np.array(image.convert("RGB")).astype(int) - pictures(1)[0]).mean() < 8
        assert image.size == SIZE


def _first_frame(path):
    return Image.fromarray(next(iter(read_frames(path))).image)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_midway_loses_nothing(tmp_path, name, failure):
    write(tmp_path / name)
    before = contents(tmp_path)

    def fail_half_way():
        with open_output(tmp_path / name, spec()) as output:
            output.write(pictures(1)[0])
            raise failure

    with pytest.raises(failure):
        fail_half_way()
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_failure_of_the_marking_fails_the_output(tmp_path, name, failure):
    write(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(type(failure)):
        write(tmp_path / name, FailingMark(failure))
    assert contents(tmp_path) == before


@pytest.fixture
def full_disk():
    """Files of this process may not grow beyond a limit, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", KINDS)
def test_full_disk(tmp_path, name, full_disk):
    noise = np.random.default_rng(0).integers(0, 256, (20, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    write(tmp_path / name)
    before = contents(tmp_path)

    def fill():
        with open_output(tmp_path / name, spec(crf=1 if name in VIDEOS else None)) as output:
            for picture in noise[: 1 if name in STILLS else 20]:
                output.write(picture)

    full_disk(1024)
    with pytest.raises(MediaError, match="free space") as caught:
        fill()
    full_disk(resource.RLIM_INFINITY)
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", KINDS)
def test_unwritable_folder(tmp_path, name, monkeypatch):
    """By a refusing file system, as tests may run as root, whom permissions do not stop."""

    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(MediaError, match="folder you may write to"):
        open_output(tmp_path / name, spec())


FILES = [name for name in KINDS if name != FOLDER]


@pytest.mark.parametrize("name", FILES)
def test_a_write_protected_file_is_not_replaced(tmp_path, name, monkeypatch):
    """By a refusing system, as above."""
    write(tmp_path / name)
    monkeypatch.setattr("os.access", lambda _, mode: mode != os.W_OK)
    with pytest.raises(MediaError, match="write-protected"):
        open_output(tmp_path / name, spec())


@pytest.mark.skipif(sys.platform == "win32", reason="permissions")
@pytest.mark.parametrize("name", KINDS)
def test_what_is_private_stays_private(tmp_path, name):
    write(tmp_path / name).chmod(0o700)
    write(tmp_path / name)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", KINDS)
def test_output_may_not_be_an_input(tmp_path, name):
    given = first_file(write(tmp_path / name))
    before = contents(tmp_path)
    with pytest.raises(MediaError, match="the input"):
        open_output(tmp_path / name, spec(inputs=(given,)))
    if name in VIDEOS:
        with pytest.raises(MediaError, match="is the input"):
            open_output(tmp_path / name, spec(audio_from=given))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", KINDS)
def test_nothing_written_is_an_error(tmp_path, name):
    with pytest.raises(MediaError, match="no frame"), open_output(tmp_path / name, spec()):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.avi", "a.txt", "a.tar.gz"])
def test_unknown_kinds_name_the_known(tmp_path, name):
    with pytest.raises(MediaError, match=r"choose \.mp4"):
        open_output(tmp_path / name, spec())


@pytest.mark.parametrize("name", [".mp4", ".GIF", ".png"])
def test_a_suffix_is_no_name(tmp_path, name):
    """As of a variable that is empty: it would be a hidden folder."""
    with pytest.raises(MediaError, match=rf"suffix without a name; name the output as out\{name.lower()}"):
        open_output(tmp_path / name, spec())


def test_there_is_no_standard_input_or_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MediaError, match="standard output; name a file"):
        open_output(Path("-"), spec())
    with pytest.raises(MediaError, match="standard input; save it"):
        probe(Path("-"))
    write_image(tmp_path / "a.png", pictures(1)[0])
    (tmp_path / "a.png").rename(tmp_path / "-")
    assert read_image(Path("-")).shape == (*SIZE[::-1], 3)


@pytest.mark.parametrize("name", ["https://example.org/a.mp4", "HTTP://example.org/a.mp4", "file:///tmp/a.mp4"])
def test_an_address_is_no_input(name):
    with pytest.raises(MediaError, match="is an address, and inputs are files; download it first"):
        probe(Path(name))


def test_missing_folder(tmp_path):
    with pytest.raises(MediaError, match="create it"):
        open_output(tmp_path / "no" / FOLDER, spec())


@pytest.mark.parametrize("name", [*STILLS, "a.gif", FOLDER])
def test_pictures_have_no_sound(tmp_path, name):
    driver = write(tmp_path / "driver.mp4")
    with open_output(tmp_path / name, spec(audio_from=driver)) as output:
        output.write(pictures(1)[0])
        assert output.audio == "none"


def test_a_sequence_gives_way_to_nothing_but_a_sequence(tmp_path):
    folder = tmp_path / FOLDER
    folder.mkdir()
    write(folder)
    (folder / "mine.txt").write_text("keep me")
    before = contents(tmp_path)
    with pytest.raises(MediaError, match="other files"):
        write(folder)
    assert contents(tmp_path) == before
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "000000.png", pictures(1)[0])
    with pytest.raises(MediaError, match="other files"):
        write(tmp_path / "photos")


@pytest.mark.parametrize("name", [".", "", ".."])
def test_the_working_directory_is_no_folder_of_pictures(tmp_path, monkeypatch, name):
    """As empty folders were, it was replaced: the shell stood in one that was gone."""
    here = tmp_path / "empty" / ("" if name != ".." else "below")
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(MediaError, match="the folder you are in"):
        open_output(Path(name), spec())


def test_a_sequence_that_cannot_take_its_place_puts_the_earlier_one_back(tmp_path, monkeypatch):
    folder = write(tmp_path / FOLDER)
    before = contents(tmp_path)
    rename = type(folder).replace

    def refuse(self, target):
        if "partial" in self.name and target == folder and not any("refused" in name for name in seen):
            seen.append("refused")
            raise OSError(5, "Input/output error")
        return rename(self, target)

    seen: list[str] = []
    monkeypatch.setattr(type(folder), "replace", refuse)
    with pytest.raises(OSError, match="Input"):
        write(folder)
    assert seen
    assert contents(tmp_path) == before


def test_still_images_take_one_picture(tmp_path):
    def write_two():
        with open_output(tmp_path / "a.png", spec()) as output:
            for picture in pictures(2):
                output.write(picture)

    with pytest.raises(MediaError, match="holds one picture"):
        write_two()
    assert not list(tmp_path.iterdir())


def test_times_of_a_sequence_are_kept(tmp_path):
    times = [Fraction(1, 3), Fraction(1), Fraction(5, 3)]
    with open_output(tmp_path / FOLDER, spec()) as output:
        for time, picture in zip(times, pictures(3), strict=True):
            output.write(picture, time=time, duration=Fraction(2, 3))
    index = json.loads((tmp_path / FOLDER / "sequence.json").read_text())
    assert index["frames"] == [["0", "2/3"], ["2/3", "2/3"], ["4/3", "2/3"]]
    assert len(list((tmp_path / FOLDER).glob("*.png"))) == 3


def test_the_last_picture_of_a_gif_lasts_as_long_as_it_says(tmp_path):
    """Not one frame of the average rate, which of a video with a pause is long."""
    with open_output(tmp_path / "a.gif", spec(rate=Fraction(1))) as output:
        for index, picture in enumerate(pictures(3)):
            output.write(picture, time=Fraction(index, 10), duration=Fraction(7, 100))
    with Image.open(tmp_path / "a.gif") as image:
        delays = [image.seek(index) or image.info["duration"] for index in range(image.n_frames)]
    assert delays == [100, 100, 70]


@pytest.mark.parametrize(("rate", "seconds"), [(Fraction(30000, 1001), 3), (Fraction(60), 1), (Fraction(12), 4)])
def test_gif_times_do_not_drift(tmp_path, rate, seconds):
    """Each frame is at the nearest hundredth of its own time, and none is closer to the next than browsers show."""
    count = int(seconds * rate)
    with open_output(tmp_path / "a.gif", spec(rate=rate)) as output:
        for index in range(count):
            output.write(pictures(3)[index % 3])
    with Image.open(tmp_path / "a.gif") as image:
        delays = []
        for index in range(image.n_frames):
            image.seek(index)
            delays.append(image.info["duration"] // 10)
    starts = np.cumsum([0, *delays[:-1]]) / 100
    wanted = np.arange(count) / float(rate)
    assert min(delays) >= 2
    assert max(np.abs(wanted - start).min() for start in starts) <= 0.005 + 1e-9
    assert abs(starts[-1] - wanted[-1]) <= 0.02
    assert image.info["loop"] == 0


@pytest.mark.parametrize("name", VIDEOS)
def test_rates_are_exact_in_each_container(tmp_path, name):
    rate = Fraction(30000, 1001)
    assert probe(write(tmp_path / name, rate=rate)).rate == rate
