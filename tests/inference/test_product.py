"""The pipeline with faces: painted ones, found by a detector of paint, moved by an engine that shifts pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synhead.config import ConfigError, from_json, to_json
from synhead.data.video import probe, read_frames
from synhead.faces.analyzer import FaceError
from synhead.faces.framing import Framing
from synhead.inference import footage, recording, reference_choice
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.job import AnimationJob, OutputOptions
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.pipeline import animate_video
from synhead.inference.recording import record_video
from synhead.inference.retargeting import Strengths
from synhead.inference.smoothing import Smoothing
from synhead.inference.template_file import write_template
from synhead.provenance.verify import verify_file
from tests.data.video_factory import Tone, onset, video_times, write_clip
from tests.faces.pictures import RedDetector, painted
from tests.inference.engine_double import ShiftEngine

WIDTH, HEIGHT = 320, 240
FACE = (120, 80, 180, 155)
SKIN = (255, 0, 0)


@pytest.fixture(autouse=True)
def _painted_faces(monkeypatch):
    monkeypatch.setattr(footage, "open_detector", RedDetector)

    def none_here():
        raise FaceError("no landmarks of painted faces")

    monkeypatch.setattr(reference_choice, "open_analyzer", none_here)
    monkeypatch.setattr(recording, "open_analyzer", none_here)


@pytest.fixture
def animator(model) -> Animator:
    animator = Animator(model, AnimatorOptions(batch_size=4, adapt_scale=False))
    animator.engine = ShiftEngine(64)
    return animator


def moving(frames: int, *, step: float = 1.0, without: tuple[int, ...] = ()) -> list[np.ndarray]:
    """The face goes to the right, in front of a grey wall."""
    left, top, right, bottom = FACE
    return [
        painted(
            WIDTH, HEIGHT, *([] if i in without else [(left + round(step * i), top, right + round(step * i), bottom)])
        )
        for i in range(frames)
    ]


def driver(folder: Path, frames: int = 12, **how) -> Path:
    pictures = how.pop("pictures", None) or moving(frames, step=how.pop("step", 1.0), without=how.pop("without", ()))
    return write_clip(folder / how.pop("name", "d.mp4"), len(pictures), size=(WIDTH, HEIGHT), pictures=pictures, **how)


def photo(folder: Path, *boxes: tuple[int, int, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    path = folder / "photo.png"
    Image.fromarray(painted(*size, *(boxes or (FACE,)))).save(path)
    return path


def job(source: Path, driving: Path, **fields) -> AnimationJob:
    return AnimationJob(source=source, driving=driving, output=source.with_name("out.mp4"), **fields)


class Untouched(Clock):
    """No pass through a video has begun."""

    def looked(self, what, done, total):
        raise AssertionError((what, done, total))


def red(image: np.ndarray) -> np.ndarray:
    return (image[..., 0] > 180) & (image[..., 1] < 90)


def test_the_square_moves_within_the_whole_photo(animator, tmp_path):
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path)))
    frames = [frame.image for frame in read_frames(tmp_path / "out.mp4")]
    assert report.pasted
    assert (report.size, frames[0].shape) == ((WIDTH, HEIGHT), (HEIGHT, WIDTH, 3))
    middles = [np.argwhere(red(image)).mean(axis=0)[1] for image in frames]
    assert middles[0] == pytest.approx(150, abs=2)
    assert middles[-1] > middles[0] + 2
    assert np.abs(frames[-1][:40].astype(int) - 120).max() < 6
    (crop,) = report.source_crops
    assert (crop.face, crop.x) == (0, pytest.approx(150, abs=1))
    assert min(report.seconds.faces, report.seconds.paste) > 0


def test_crop_only(animator, tmp_path):
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path), options=OutputOptions(paste_back="never")))
    assert (report.size, report.pasted) == ((64, 64), False)
    assert verify_file(tmp_path / "out.mp4").source_type.endswith("/trainedAlgorithmicMedia")


def test_two_faces_one_driver(animator, tmp_path):
    source = photo(tmp_path, FACE, (430, 80, 490, 155), size=(640, 240))
    report = animate_video(animator, job(source, driver(tmp_path), framing=Framing(face="all")))
    assert [crop.face for crop in report.source_crops] == [0, 1]
    frames = [frame.image for frame in read_frames(tmp_path / "out.mp4")]
    for half in (slice(0, 320), slice(320, 640)):
        middles = [np.argwhere(red(image[:, half])).mean(axis=0)[1] for image in (frames[0], frames[-1])]
        assert middles[1] > middles[0] + 2


def test_two_faces_crop_only_stand_in_a_row(animator, tmp_path):
    source = photo(tmp_path, FACE, (430, 80, 490, 155), size=(640, 240))
    options = OutputOptions(side_by_side=True)
    report = animate_video(animator, job(source, driver(tmp_path), framing=Framing(face="all"), options=options))
    assert report.size == (5 * 64, 64)


@pytest.mark.parametrize(("face", "noted"), [("largest", True), ("leftmost", False), ("1", False), ("all", False)])
def test_further_faces_of_a_photo_are_noted_where_nobody_chose(animator, tmp_path, face, noted):
    source = photo(tmp_path, FACE, (430, 80, 490, 155), size=(640, 240))
    report = animate_video(animator, job(source, driver(tmp_path, 2), framing=Framing(face=face)))
    notes = [warning for warning in report.warnings if "2 faces were found" in warning]
    assert len(notes) == noted
    assert all("--face all" in note for note in notes)


CENTRE, BOX = Framing(crop="center"), Framing(crop="box", box=(100.0, 60.0, 200.0, 160.0))


@pytest.mark.parametrize(
    ("vain", "fields"),
    [
        ("--face", {"framing": replace(CENTRE, face="all")}),
        ("--face", {"framing": replace(BOX, face="7")}),
        ("--upright", {"framing": replace(BOX, upright=True)}),
        ("--driving-face", {"driving_framing": replace(CENTRE, face="leftmost")}),
        ("", {"framing": Framing(face="leftmost", upright=True), "driving_framing": Framing(face="0")}),
        ("", {"framing": BOX, "driving_framing": replace(CENTRE, movement="follow")}),
    ],
)
def test_choices_that_others_leave_without_effect_are_noted(animator, tmp_path, vain, fields):
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path, 2), **fields))
    notes = [warning for warning in report.warnings if "without effect" in warning]
    assert [note.split()[0] for note in notes] == [vain] * bool(vain)


def test_upright_of_a_video_and_choices_for_a_template_are_noted(animator, tmp_path):
    clip = driver(tmp_path, 2)
    animate_video(animator, job(clip, clip, framing=Framing(upright=True)))
    write_template(tmp_path / "m.safetensors", record_video(animator, clip).template)
    for choice in (Framing(crop="center"), Framing(face="0")):
        given = job(clip, tmp_path / "m.safetensors", framing=Framing(upright=True), driving_framing=choice)
        notes = [warning.split()[0] for warning in animate_video(animator, given).warnings if "effect" in warning]
        assert notes == ["--upright", "--driving-face"]


def test_openings_of_a_template_are_refused_before_faces_are_looked_for(animator, tmp_path):
    clip = driver(tmp_path, 2)
    write_template(tmp_path / "m.safetensors", record_video(animator, clip).template)
    faceless = driver(tmp_path, 2, without=(0, 1), name="faceless.mp4")
    with pytest.raises(ConfigError, match="leave --mouth and --eyes at 1"):
        animate_video(
            animator, job(faceless, tmp_path / "m.safetensors", openings=Strengths(mouth=2.0)), clock=Untouched()
        )


@pytest.mark.parametrize(("limit", "noted"), [(None, True), (1920, False)])
def test_a_picture_too_large_for_players_is_noted_unless_it_is_made_smaller(animator, tmp_path, limit, noted):
    source = photo(tmp_path, (2000, 80, 2060, 155), size=(4200, 240))
    report = animate_video(animator, job(source, driver(tmp_path, 2), options=OutputOptions(max_side=limit)))
    assert any("many players" in warning for warning in report.warnings) == noted


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tiff"])
def test_an_animation_as_a_portrait_is_noted(animator, tmp_path, suffix):
    """Pages of a TIFF are no animation."""
    pages = [Image.fromarray(painted(WIDTH, HEIGHT, FACE)), Image.fromarray(painted(WIDTH, HEIGHT))]
    source = tmp_path / f"moving{suffix}"
    pages[0].save(source, save_all=True, append_images=pages[1:])
    for path, noted in ((source, suffix != ".tiff"), (photo(tmp_path), False)):
        report = animate_video(animator, job(path, driver(tmp_path, 2)))
        assert any("the portrait is an animation" in warning for warning in report.warnings) == noted


def test_frames_without_a_face_are_named_and_never_stop_a_run(animator, tmp_path):
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path, 25, without=(7, 8, 9, 10, 11, 20))))
    assert report.frames == 25
    assert report.faceless == ((7, 11), (20, 20))
    assert any("6 frames (7-11, 20)" in warning for warning in report.warnings)


def test_a_driver_without_any_face_falls_back_to_its_middle(animator, tmp_path):
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path, without=tuple(range(12)))))
    assert report.frames == 12
    assert any("no face was found in the driving video" in warning for warning in report.warnings)
    assert report.driving_crop.side == HEIGHT


def test_a_portrait_without_a_face_is_an_error_and_a_box_the_remedy(animator, tmp_path):
    source = tmp_path / "photo.png"
    Image.fromarray(painted(WIDTH, HEIGHT)).save(source)
    with pytest.raises(FaceError, match="--crop LEFT,TOP,RIGHT,BOTTOM"):
        animate_video(animator, job(source, driver(tmp_path)))
    assert not (tmp_path / "out.mp4").exists()
    boxed = Framing(crop="box", box=(100.0, 60.0, 200.0, 160.0))
    assert animate_video(animator, job(source, driver(tmp_path), framing=boxed)).pasted


def test_without_a_backend_the_middle_and_a_remark(animator, tmp_path, monkeypatch):
    def missing():
        raise FaceError("faces need mediapipe")

    monkeypatch.setattr(footage, "open_detector", missing)
    report = animate_video(animator, job(photo(tmp_path), driver(tmp_path)))
    assert (report.size, report.pasted) == ((64, 64), False)
    assert "faces need mediapipe" in report.warnings[0]


def test_a_photo_that_shows_little_more_than_the_crop_is_not_pasted(animator, tmp_path):
    report = animate_video(animator, job(photo(tmp_path, (20, 25, 80, 100), size=(100, 115)), driver(tmp_path)))
    assert (report.pasted, report.size) == (False, (64, 64))


@pytest.mark.parametrize("size", [(321, 243), (640, 480)])
def test_odd_sizes_and_a_longest_side(animator, tmp_path, size):
    source = photo(tmp_path, size=size)
    options = OutputOptions(max_side=200)
    report = animate_video(animator, job(source, driver(tmp_path, 3), options=options))
    assert max(report.size) == 200
    full = animate_video(animator, job(source, driver(tmp_path, 3)))
    assert full.size == size
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_source_video_keeps_its_own_time_and_adds_the_drivers_movement(animator, tmp_path):
    source = driver(tmp_path, 12, name="s.mp4", rate=Fraction(20), step=2.0)
    report = animate_video(animator, job(source, driver(tmp_path, 30, rate=Fraction(30), step=0.0)))
    assert report.pasted
    assert (report.frames, report.rate) == (12, 20)
    assert video_times(tmp_path / "out.mp4") == [Fraction(i, 20) for i in range(12)]
    middles = [np.argwhere(red(frame.image)).mean(axis=0)[1] for frame in read_frames(tmp_path / "out.mp4")]
    # a still driver adds nothing: the face goes where it went, from 150 to 172
    assert middles[0] == pytest.approx(150, abs=2)
    assert middles[-1] == pytest.approx(172, abs=2)


def test_a_source_that_wanders_is_followed_and_a_driver_not_yet(animator, tmp_path):
    wandering = driver(tmp_path, 60, step=1.3)
    report = animate_video(animator, job(wandering, driver(tmp_path, 60, name="other.mp4", step=1.3)))
    assert report.source_crops[0].moves
    assert not report.driving_crop.moves


def test_source_video_ends_with_the_shorter(animator, tmp_path):
    source = driver(tmp_path, 30, name="s.mp4", rate=Fraction(20))
    assert animate_video(animator, job(source, driver(tmp_path, 10, rate=Fraction(20)))).frames == 10


def test_source_video_is_smoothed_as_a_photo_is(animator, tmp_path):
    """Smoothing acts on the driver over time, also where each frame has a source of its own."""
    shaking = [image for pair in zip(moving(6, step=0), moving(6, step=0), strict=True) for image in pair]
    shaking[1::2] = [np.roll(image, 12, axis=1) for image in shaking[1::2]]
    still, shaken = driver(tmp_path, 12, name="s.mp4", step=0.0), driver(tmp_path, pictures=shaking)
    spreads = []
    for smoothing in (None, Smoothing(frames=2.0)):
        animator.options = AnimatorOptions(batch_size=4, adapt_scale=False, edits=MotionEdits(smoothing=smoothing))
        animate_video(animator, job(still, shaken, reference=0))
        middles = [np.argwhere(red(frame.image)).mean(axis=0)[1] for frame in read_frames(tmp_path / "out.mp4")]
        spreads.append(np.abs(np.diff(middles[3:-3])).mean())
    assert spreads[1] < spreads[0] / 3


@pytest.mark.parametrize("audio", ["driver", "source", "none"])
def test_whose_sound(animator, tmp_path, audio):
    source = driver(tmp_path, 30, name="s.mp4", tone=Tone(burst=0.3))
    driving = driver(tmp_path, 30, tone=Tone(burst=0.6))
    report = animate_video(animator, job(source, driving, options=OutputOptions(audio=audio)))
    if audio == "none":
        assert report.audio == "none"
    else:
        assert onset(tmp_path / "out.mp4") == pytest.approx({"source": 0.3, "driver": 0.6}[audio], abs=0.03)


def test_a_template_gives_the_same_pictures_as_its_clip(model, tmp_path):
    """Done when: bit for bit, with the true engine and the crops that were found."""
    animator = Animator(model, AnimatorOptions(batch_size=4))
    source, driving = photo(tmp_path), driver(tmp_path, 10)
    write_template(tmp_path / "m.safetensors", record_video(animator, driving, framing=Framing()).template)
    pictures = []
    for drive in (driving, tmp_path / "m.safetensors"):
        out = tmp_path / drive.stem
        given = AnimationJob(source=source, driving=drive, output=out, reference=0)
        animate_video(animator, given)
        pictures.append([np.asarray(Image.open(path)) for path in sorted(out.glob("*.png"))])
    assert len(pictures[0]) == 10
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_recording_says_which_square_and_which_frames_had_no_face(animator, tmp_path):
    recorded = record_video(animator, driver(tmp_path, 20, without=(9, 10)), framing=Framing())
    assert any("2 frames (9-10)" in warning for warning in recorded.warnings)
    assert from_json(Framing, recorded.template.origin.crop) == Framing()


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out.gif", "out"])
def test_every_kind_is_marked_as_pasted_into_a_photo(animator, tmp_path, name):
    given = AnimationJob(source=photo(tmp_path), driving=driver(tmp_path, 3), output=tmp_path / name)
    report = animate_video(animator, given)
    assert report.marked.endswith("/compositeWithTrainedAlgorithmicMedia")
    path = tmp_path / name
    for file in [path] if path.is_file() else sorted(path.glob("*.png")):
        verdict = verify_file(file)
        assert (verdict.state, verdict.source_type) == ("intact", report.marked)


def test_label_is_in_the_picture(animator, tmp_path):
    source, driving = photo(tmp_path), driver(tmp_path, 2)
    corners = []
    for label in (None, "AI-generated"):
        animate_video(animator, job(source, driving, options=OutputOptions(label=label)))
        corners.append(next(iter(read_frames(tmp_path / "out.mp4"))).image[-20:, :60].astype(int))
    assert np.abs(corners[1] - corners[0]).max() > 80


def test_report_as_json(animator, tmp_path):
    report = json.loads(animate_video(animator, job(photo(tmp_path), driver(tmp_path))).to_json())
    assert set(report["seconds"]) == {"decode", "faces", "model", "paste", "encode"}
    assert report["rate"] == "30000/1001"
    assert report["reference"] == 0
    assert "no landmarks of painted faces" in report["warnings"][0]


def test_job_survives_json(tmp_path):
    given = job(tmp_path / "a.png", tmp_path / "b.mp4", framing=Framing(face="1"), options=OutputOptions(crf=20))
    assert from_json(AnimationJob, to_json(given)) == given


@pytest.mark.parametrize("wrong", [{"side_by_side": True, "paste_back": "always"}, {"max_side": 5}])
def test_options_that_exclude_each_other(wrong):
    with pytest.raises(ConfigError):
        OutputOptions(**wrong)


@pytest.mark.parametrize("face", ["all", "0,1"])
def test_one_face_drives(tmp_path, face):
    with pytest.raises(ConfigError, match="one face drives"):
        job(tmp_path / "a.png", tmp_path / "b.mp4", driving_framing=Framing(face=face))


def test_absolute_motion_needs_no_reference(model, tmp_path):
    animator = Animator(model, AnimatorOptions(motion="absolute"))
    assert "needs none" in animate_video(animator, job(photo(tmp_path), driver(tmp_path, 2))).reference_reason
