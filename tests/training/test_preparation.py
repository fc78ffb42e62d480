from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import av.error
import numpy as np
import pytest
from PIL import Image

from synhead.config import ConfigError
from synhead.data.clips import open_clips
from synhead.data.decode import decode_clip
from synhead.data.errors import MediaError, OutputError
from synhead.data.video import VideoWriter
from synhead.faces.analyzer import FaceBox
from synhead.faces.boxes import Box
from synhead.training.preparation import PrepareError, PrepareOptions, find_videos, prepare_clips, run, worker
from synhead.training.preparation.checks import SceneCuts, hash_distance, perceptual_hash, sharpness
from synhead.training.preparation.worker import prepare_input

OPTIONS = PrepareOptions(min_seconds=1.0, max_seconds=4.0, min_face_px=40, workers=1)
RATE = Fraction(10)


def texture(seed: int, height: int = 160, width: int = 240) -> np.ndarray:
    """A sharp picture of grey blocks, without pure red."""
    blocks = np.random.default_rng(seed).integers(0, 160, (height // 8, width // 8, 1))
    return np.repeat(np.repeat(blocks, 8, 0), 8, 1).repeat(3, 2).astype(np.uint8)


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with VideoWriter(path, rate=RATE, size=(frames[0].shape[1], frames[0].shape[0])) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def face_video(path: Path, count: int = 20, *, seed: int = 0, side: int = 64, start: int = 60) -> Path:
    """A red square, which the stub takes for a face, moving right by a pixel a frame."""
    frames = []
    for i in range(count):
        frame = texture(seed)
        frame[40 : 40 + side, start + i : start + i + side] = (230, 10, 10)
        frames.append(frame)
    return write_video(path, frames)


class RedSquares:
    """A detector of red squares."""

    version = "red squares 1"

    def boxes(self, image):
        red = (image[..., 0] > 180) & (image[..., 1] < 80)
        if red.sum() < 100:
            return ()
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        edges = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return (FaceBox(Box(*(float(edge) for edge in edges)), 0.9),)

    def close(self):
        pass


@pytest.fixture
def inline(monkeypatch):
    """Everything in this process, with the stub."""

    def in_order(prepare, sources, workers):
        return (prepare(source, opener=RedSquares) for source in sources)

    monkeypatch.setattr(run, "open_detector", RedSquares)
    monkeypatch.setattr(run, "_in_processes", in_order)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_clip_and_its_provenance(tmp_path, inline):
    source = face_video(tmp_path / "talk.mp4", 20)
    seen = []
    report = prepare_clips([source], tmp_path / "out", OPTIONS, seen.append)
    assert (report.inputs, report.resumed, report.clips, report.held_out, report.rejected) == (1, 0, 1, 0, ())
    assert [(p.done, p.total, p.clips, p.source) for p in seen] == [(1, 1, 1, str(source))]
    (record,) = lines(tmp_path / "out" / "index.jsonl")
    assert record["detector"] == "red squares 1"
    assert len(record["source_sha256"]) == 64
    assert record["fps"] == 10
    assert (record["begin_s"], record["frames"], record["face_px"]) == (0, 16, pytest.approx(64, abs=3))
    left, top, side = record["crop"]
    assert side == pytest.approx(64 * 1.475, abs=4)
    assert top == pytest.approx(40 - 0.33 * 64, abs=4)
    assert left + side / 2 == pytest.approx(60 + 7.5 + 32, abs=4)
    page = (tmp_path / "out" / "contact_sheet.html").read_text()
    assert "data:image/jpeg;base64,/9j/" in page


def test_the_data_room_reads_it(tmp_path, inline):
    face_video(tmp_path / "talk.mp4")
    prepare_clips([tmp_path / "talk.mp4"], tmp_path / "out", OPTIONS)
    (clip,) = open_clips(tmp_path / "out")
    frames = decode_clip(clip, 256)
    assert frames.shape == (16, 256, 256, 3)
    red = (frames[0, ..., 0] > 180) & (frames[0, ..., 1] < 80)
    assert red.mean() == pytest.approx((64 / 95) ** 2, abs=0.06)


def test_reasons(tmp_path, inline):
    source = tmp_path / "in"
    source.mkdir()
    face_video(source / "a_good.mp4")
    (source / "b_twin.mp4").write_bytes((source / "a_good.mp4").read_bytes())
    face_video(source / "c_alike.mp4", 19)
    face_video(source / "d_short.mp4", 6, seed=4)
    face_video(source / "e_small.mp4", side=34, seed=5)
    write_video(source / "f_empty.mp4", [texture(6)] * 20)
    (source / "g_broken.mp4").write_bytes(b"no video at all")
    smooth = np.full((160, 240, 3), 90, np.uint8)
    smooth[40:104, 60:124] = (230, 10, 10)
    write_video(source / "h_blurred.mp4", [smooth] * 20)
    options = PrepareOptions(min_seconds=1.0, max_seconds=4.0, min_face_px=40, min_sharpness=40.0, workers=1)
    report = prepare_clips([source], tmp_path / "out", options)
    assert report.clips == 1
    reasons = {Path(item.source).stem: item.reason for item in report.rejected}
    assert "the same file as" in reasons["b_twin"]
    assert "looks like clip a_good-" in reasons["c_alike"]
    assert "shorter than" in reasons["d_short"]
    assert "smaller than 40 px" in reasons["e_small"]
    assert reasons["f_empty"] == "no face found"
    assert "g_broken.mp4 is not a video" in reasons["g_broken"]
    assert "sharpness" in reasons["h_blurred"]
    assert {Path(str(item["source"])).stem for item in lines(tmp_path / "out" / "skipped.jsonl")} == set(reasons)
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 1


def test_scene_cut_ends_the_clip(tmp_path, inline):
    frames = []
    for i in range(40):
        frame = texture(1) if i < 20 else 255 - texture(2)
        frame[40:104, 80:144] = (230, 10, 10)
        frames.append(frame)
    write_video(tmp_path / "two.mp4", frames)
    prepare_clips([tmp_path / "two.mp4"], tmp_path / "out", OPTIONS)
    spans = [(clip["begin_s"], clip["end_s"]) for clip in lines(tmp_path / "out" / "index.jsonl")]
    assert spans == [(0, 1.5), (2, 3.5)]


def test_long_tracks_are_cut_evenly_and_fast_videos_thinned(tmp_path, inline):
    face_video(tmp_path / "long.mp4", 61, side=110, start=20)
    options = PrepareOptions(min_seconds=1.0, max_seconds=4.0, min_face_px=40, max_rate=5.0, duplicate_bits=-1)
    prepare_clips([tmp_path / "long.mp4"], tmp_path / "out", options)
    clips = lines(tmp_path / "out" / "index.jsonl")
    assert [(clip["frames"], clip["fps"]) for clip in clips] == [(15, 5), (16, 5)]


def test_no_limit_of_frames_a_second(tmp_path, inline):
    face_video(tmp_path / "a.mp4")
    prepare_clips([tmp_path / "a.mp4"], tmp_path / "out", replace(OPTIONS, max_rate=math.inf))
    assert [(clip["frames"], clip["fps"]) for clip in lines(tmp_path / "out" / "index.jsonl")] == [(16, 10)]


def test_resume_does_only_what_is_left(tmp_path, inline):
    face_video(tmp_path / "a.mp4", seed=1)
    prepare_clips([tmp_path / "a.mp4"], tmp_path / "out", OPTIONS)
    face_video(tmp_path / "b.mp4", seed=7, side=72, start=20)
    seen = []
    report = prepare_clips([tmp_path], tmp_path / "out", OPTIONS, seen.append)
    assert [Path(p.source).name for p in seen] == ["b.mp4"]
    assert (report.inputs, report.resumed) == (2, 1)
    assert prepare_clips([tmp_path / "a.mp4"], tmp_path / "out", OPTIONS).resumed == 1


def test_its_own_clips_are_no_input(tmp_path, monkeypatch):
    """However the folders are named: by another way, or as one and the same."""
    for name in ("talk.mp4", "more/talk.mp4", "out/notes/talk.mp4", "out/clips/talk_0_0.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "more")
    videos = [tmp_path / "more/talk.mp4", tmp_path / "out/notes/talk.mp4", tmp_path / "talk.mp4"]
    for clips in ("../out/clips", "../link/clips", tmp_path / "out/clips"):
        assert find_videos([tmp_path], without=Path(clips)) == videos
    assert find_videos([tmp_path / "out"], without=tmp_path / "out/clips") == videos[1:2]
    named = tmp_path / "out/clips/talk_0_0.mp4"
    assert find_videos([named], without=named.parent) == [named]
    with pytest.raises(PrepareError, match=r"no video in .* but clips made from others"):
        find_videos([named.parent], without=named.parent)


def test_killed_run_goes_on(tmp_path, inline):
    """A torn last line of the journal and clips without a record are made good."""
    source = tmp_path / "in"
    source.mkdir()
    face_video(source / "a.mp4", seed=1)
    face_video(source / "b.mp4", seed=7, side=72, start=20)
    whole = prepare_clips([source], tmp_path / "out", OPTIONS)
    index = (tmp_path / "out" / "index.jsonl").read_text()
    journal = tmp_path / "out" / "journal.jsonl"
    first, second = journal.read_text().splitlines()
    journal.write_text(first + "\n" + second[: len(second) // 2])
    again = prepare_clips([source], tmp_path / "out", OPTIONS)
    assert (again.resumed, again.clips) == (1, whole.clips)
    assert (tmp_path / "out" / "index.jsonl").read_text() == index


def test_a_full_disk_is_not_the_sources_fault(tmp_path, inline, monkeypatch):
    """It ends the call, and the next one takes the source again."""
    sources = [face_video(tmp_path / f"{name}.mp4", seed=seed) for seed, name in enumerate("ab")]
    full = av.error.OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as disk:
        disk.setattr(VideoWriter, "_mux", Mock(side_effect=full))
        with pytest.raises(OutputError, match="could not be written"):
            prepare_clips(sources, tmp_path / "out", OPTIONS)
    assert not list((tmp_path / "out" / "clips").iterdir())
    report = prepare_clips(sources, tmp_path / "out", OPTIONS)
    assert (report.resumed, report.clips, report.rejected) == (0, 2, ())


def test_an_unreadable_source_is_tried_again(tmp_path, inline, monkeypatch):
    """What failed may be there now: a disk, a codec, the rest of a copy. The file itself need not have changed."""
    good, bad = face_video(tmp_path / "a.mp4", seed=1), face_video(tmp_path / "b.mp4", seed=7, side=72, start=20)
    scan = worker.scan_video

    def one_fails(path, *others):
        if path == bad:
            raise MediaError(f"{path} cannot be read (Input/output error); try again")
        return scan(path, *others)

    with monkeypatch.context() as disk:
        disk.setattr(worker, "scan_video", one_fails)
        for resumed in (0, 1):
            report = prepare_clips([good, bad], tmp_path / "out", OPTIONS)
            assert (report.resumed, report.clips) == (resumed, 1)
            assert [item.cause for item in report.rejected] == ["unreadable"]
    report = prepare_clips([good, bad], tmp_path / "out", OPTIONS)
    assert (report.resumed, report.clips, report.rejected) == (1, 2, ())
    assert (tmp_path / "out" / "skipped.jsonl").read_text() == ""
    assert prepare_clips([good, bad], tmp_path / "out", OPTIONS).resumed == 2


def test_a_source_that_grew_while_it_was_read_is_done_again(tmp_path, inline, monkeypatch):
    """As one that is being copied: what was read is not what is there now."""
    path, scan = face_video(tmp_path / "a.mp4"), worker.scan_video

    def copied_on(source, *others):
        found = scan(source, *others)
        with source.open("ab") as file:
            file.write(bytes(1000))
        return found

    with monkeypatch.context() as copying:
        copying.setattr(worker, "scan_video", copied_on)
        prepare_clips([path], tmp_path / "out", OPTIONS)
    assert prepare_clips([path], tmp_path / "out", OPTIONS).resumed == 0
    assert prepare_clips([path], tmp_path / "out", OPTIONS).resumed == 1


def test_changed_source_is_done_again(tmp_path, inline):
    path = face_video(tmp_path / "a.mp4", seed=1)
    prepare_clips([path], tmp_path / "out", OPTIONS)
    face_video(path, 30, seed=2, side=72)
    report = prepare_clips([path], tmp_path / "out", OPTIONS)
    assert (report.resumed, report.clips) == (0, 1)
    assert lines(tmp_path / "out" / "index.jsonl")[0]["frames"] == 26


def test_clips_that_a_changed_source_no_longer_gives_go(tmp_path, inline):
    """They would be trained on by who names the folder of clips, and are no clips of this source any more."""
    path, out = face_video(tmp_path / "a.mp4", 61, side=110, start=20), tmp_path / "out"
    options = replace(OPTIONS, duplicate_bits=-1)
    for change, left in ((lambda: None, 2), (lambda: face_video(path, 30), 1), (lambda: path.write_bytes(b"no"), 0)):
        change()
        assert prepare_clips([path], out, options).clips == left
        assert len(list((out / "clips").iterdir())) == len(list((out / "strips").iterdir())) == left


def test_other_options_and_strange_folders_are_refused(tmp_path, inline):
    path = face_video(tmp_path / "a.mp4")
    prepare_clips([path], tmp_path / "out", OPTIONS)
    with pytest.raises(PrepareError, match="another min_face_px"):
        prepare_clips([path], tmp_path / "out", PrepareOptions(min_seconds=1.0, max_seconds=4.0, min_face_px=41))
    with pytest.raises(PrepareError, match="choose a new folder"):
        prepare_clips([path], tmp_path, OPTIONS)
    with pytest.raises(PrepareError, match="does not exist"):
        find_videos([tmp_path / "nowhere"])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(PrepareError, match="no video in"):
        find_videos([tmp_path / "nothing"])
    with pytest.raises(ConfigError, match="min_seconds"):
        PrepareOptions(min_seconds=9.0)
    with pytest.raises(ConfigError, match="max_rate"):
        PrepareOptions(max_rate=math.nan)


def test_persons_and_split(tmp_path):
    folder = tmp_path / "id10001"
    folder.mkdir()
    path = face_video(folder / "x.mp4")
    (tmp_path / "clips").mkdir()
    (tmp_path / "strips").mkdir()
    options = PrepareOptions(min_seconds=1.0, min_face_px=40, person="folder", validation_share=0.999)
    (clip,) = prepare_input(path, tmp_path, options, opener=RedSquares).clips
    assert (clip.person, clip.split) == ("id10001", "val")
    prefixed = path.rename(folder / "id7#one.mp4")
    (clip,) = prepare_input(prefixed, tmp_path, OPTIONS, opener=RedSquares).clips
    assert (clip.person, clip.split) == ("id7", "train")


def test_persons_and_split_hang_on_the_video_not_on_its_path(tmp_path, inline, monkeypatch):
    """However it is written, wherever it lies, in whichever folder one stands."""
    path = face_video(tmp_path / "in" / "talk.mp4")
    copy = tmp_path / "elsewhere" / "talk.mp4"
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    found = set()
    for number, (place, typed) in enumerate(
        [(tmp_path, path), (tmp_path, "in/talk.mp4"), (tmp_path / "in", "../in/talk.mp4"), (tmp_path, copy)]
    ):
        monkeypatch.chdir(place)
        prepare_clips([Path(typed)], tmp_path / f"out{number}", replace(OPTIONS, validation_share=0.5))
        (clip,) = lines(tmp_path / f"out{number}" / "index.jsonl")
        found.add((clip["person"], clip["split"]))
    assert len(found) == 1, found
    other = face_video(tmp_path / "other" / "talk.mp4", seed=3)
    prepare_clips([other], tmp_path / "out", OPTIONS)
    assert lines(tmp_path / "out" / "index.jsonl")[0]["person"] not in {person for person, _ in found}


def test_a_namesake_from_another_folder_takes_nobodys_clips(tmp_path, inline, monkeypatch):
    """Named alike from where one stands. By its full path it is taken; so is its name once the first one has gone."""
    out = tmp_path / "out"
    for number, place in enumerate(("first", "second")):
        face_video(tmp_path / place / "talk.mp4", seed=1 + 6 * number, side=64 + 8 * number)
    monkeypatch.chdir(tmp_path / "first")
    prepare_clips([Path("talk.mp4")], out, OPTIONS)
    kept = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.chdir(tmp_path / "second")
    with pytest.raises(PrepareError, match=r"another talk.mp4, which is .*first"):
        prepare_clips([Path("talk.mp4")], out, OPTIONS)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == kept
    assert prepare_clips([Path("talk.mp4").resolve()], out, OPTIONS).clips == 2
    (tmp_path / "first" / "talk.mp4").unlink()
    assert prepare_clips([Path("talk.mp4")], out, OPTIONS).inputs == 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_nobody_of_a_folder_changes_sides(tmp_path, inline, split):
    """Not by a change of the video, nor in a folder whose persons were named otherwise, as by earlier versions."""
    path, out = face_video(tmp_path / "a.mp4"), tmp_path / "out"
    options = replace(OPTIONS, validation_share=0.5)
    prepare_clips([path], out, options)
    (record,) = lines(out / "journal.jsonl")
    for clip in record["clips"]:
        clip.update(person="a-0123abcd", split=split)
    (out / "journal.jsonl").write_text(json.dumps(record) + "\n")
    for seed in (2, 3):
        face_video(path, seed=seed, side=72)
        report = prepare_clips([path], out, options)
        (clip,) = lines(out / "index.jsonl")
        assert (clip["person"], clip["split"], report.resumed) == ("a-0123abcd", split, 0)
        assert report.held_out == (split == "val")


def _dies_on_b(source: Path):
    if source.name == "b":
        os._exit(3)
    return run.InputRecord(source=str(source), source_bytes=0, modified_ns=0, sha256="")


def test_an_input_that_kills_its_worker_is_given_up(tmp_path):
    sources = [tmp_path / name for name in "abc"]
    for source in sources:
        source.touch()
    records = list(run._in_processes(_dies_on_b, sources, 1))
    assert [Path(record.source).name for record in records] == ["a", "b", "c"]
    assert [bool(record.rejected) for record in records] == [False, True, False]
    assert "died" in records[1].rejected[0].reason


def test_checks():
    sharp = texture(0)
    flat = np.full_like(sharp, 90)
    assert sharpness(flat) == 0
    assert sharpness(sharp) > 100
    assert hash_distance([perceptual_hash(sharp)], [perceptual_hash(np.clip(sharp + 3, 0, 255).astype(np.uint8))]) <= 3
    assert hash_distance([perceptual_hash(sharp)], [perceptual_hash(texture(9))]) > 12
    assert hash_distance([1], [1, 2]) == 64
    cuts = SceneCuts(0.12)
    assert [cuts.is_cut(p) for p in (flat, flat, flat + 100, flat + 100)] == [False, False, True, False]


def test_a_real_face(tmp_path):
    """The public-domain portrait, moved and scaled over a background, found by mediapipe."""
    data = pytest.importorskip("skimage.data")
    mediapipe = pytest.importorskip("mediapipe")
    if not hasattr(mediapipe, "solutions"):
        pytest.skip("no face model here")
    portrait = Image.fromarray(data.astronaut()[:256, 96:352])
    frames = []
    for i in range(16):
        side = 224 + i
        frame = texture(3, 320, 480)
        frame[10 : 10 + side, 100 + i : 100 + i + side] = np.asarray(portrait.resize((side, side)))
        frames.append(frame)
    path = write_video(tmp_path / "moving.mp4", frames)
    (tmp_path / "clips").mkdir()
    (tmp_path / "strips").mkdir()
    record = prepare_input(path, tmp_path, PrepareOptions(min_seconds=1.0, min_face_px=60))
    (clip,) = record.clips
    assert clip.frames == 16
    left, top, side = clip.crop
    # the face's centre goes from about (213, 116) to (250, 125)
    assert left + side / 2 == pytest.approx(235, abs=25)
    assert top < 75
    assert 130 < side < 260
    assert "mediapipe" in clip.detector
