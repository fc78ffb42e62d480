from fractions import Fraction

import numpy as np
import pytest
import torch

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.data.video import VideoWriter, probe, read_frame, read_frames
from synhead.faces.analyzer import FaceError
from synhead.faces.framing import Framing
from synhead.inference import footage, recording
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.recording import MotionRecorder, record_frames, record_video
from synhead.inference.smoothing import Smoothing
from synhead.inference.template import TemplateError, TemplateOrigin
from synhead.inference.template_file import read_template, write_template
from tests.data.video_factory import damage, video_times, write_clip
from tests.faces.pictures import RedDetector, painted
from tests.inference.conftest import blobs
from tests.inference.face_factory import face

COUNT = 7


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Pictures that differ from frame to frame, at an uneven pace."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    tick = Fraction(1, 90000)
    with VideoWriter(path, rate=Fraction(30000, 1001), size=(96, 64), time_base=tick, crf=10) as writer:
        for i in range(COUNT):
            image = np.concatenate([blobs(i + 1), blobs(i + 2)[:, :32]], axis=1)
            writer.write(image, time=(3003 * i + 100 * (i % 3)) * tick, duration=3003 * tick)
    return path


def animator(model, **options) -> Animator:
    return Animator(model, AnimatorOptions(**options))


def images(animator, clip):
    for frame in read_frames(clip, size=animator.image_size, fit=animator.options.fit):
        yield frame.image


RUNS = [
    (8, {"batch_size": 1}),
    (3, {"batch_size": 4}),
    (4, {"batch_size": 8, "fit": "pad"}),
    (1, {"batch_size": 16, "motion": "absolute"}),
    (8, {"batch_size": 4, "edits": MotionEdits(multiplier=1.5, parts="face", smoothing=Smoothing(frames=1.0))}),
]


@pytest.mark.parametrize(("recorded_in", "options"), RUNS)
def test_a_template_gives_the_same_video_as_its_clip_bit_for_bit(model, portrait, clip, tmp_path, options, recorded_in):
    """Through a file, in fp32, whatever the batches of the recording were."""
    fit = options.get("fit", "crop")
    recorded = record_video(animator(model, batch_size=recorded_in, fit=fit), clip)
    write_template(tmp_path / "motion.safetensors", recorded.template)
    template = read_template(tmp_path / "motion.safetensors")
    player = animator(model, **options)
    template.check_model(player.fingerprint)
    player.observe(portrait)
    wanted = np.stack(list(player.animate(images(player, clip))))
    found = np.stack(list(player.follow(template.motion(player.options.batch_size, device=player.device))))
    assert found.shape == (COUNT, 64, 64, 3)
    assert wanted.std(axis=0).max() > 2, "the frames differ, or this test shows nothing"
    np.testing.assert_array_equal(found, wanted)


def test_a_template_writes_the_same_file_as_its_clip(model, portrait, clip, tmp_path):
    """The same bytes: pictures, times and durations."""
    player = animator(model, batch_size=4)
    player.observe(portrait)
    template = record_video(animator(model, batch_size=3), clip).template
    info, frames = probe(clip), list(read_frames(clip, size=64))

    def write(name, pictures, times, durations, **options):
        with VideoWriter(tmp_path / name, size=(64, 64), **options) as writer:
            for image, time, duration in zip(pictures, times, durations, strict=True):
                writer.write(image, time=time, duration=duration)
        return (tmp_path / name).read_bytes()

    wanted = write(
        "wanted.mp4",
        player.animate(frame.image for frame in frames),
        [frame.time for frame in frames],
        [frame.duration for frame in frames],
        rate=info.rate,
        time_base=info.time_base,
    )
    found = write(
        "found.mp4",
        player.follow(template.motion(4)),
        template.times,
        template.durations,
        rate=template.rate,
        time_base=template.time_base,
    )
    assert found == wanted


@pytest.mark.parametrize("index", [0, 5])
def test_any_reference_frame(model, portrait, clip, index):
    template = record_video(animator(model, batch_size=4), clip, reference=index).template
    player = animator(model, batch_size=4)
    player.observe(portrait)
    reference = read_frame(clip, index, size=64).image
    wanted = np.stack(list(player.animate(images(player, clip), reference=reference)))
    found = np.stack(list(player.follow(template.motion(4), reference=template.frame(index))))
    np.testing.assert_array_equal(found, wanted)
    assert template.reference == index


def test_keypoints_are_those_of_the_frame_alone(model, clip):
    """A frame has the same keypoints, to the last bit, in whatever batch it comes."""
    template = record_video(animator(model, batch_size=4), clip).template
    alone = animator(model, batch_size=8)
    for i, image in enumerate(images(alone, clip)):
        found = next(alone.track([image]))
        assert torch.equal(found.position, template.frame(i).position)
        assert torch.equal(found.jacobian, template.frame(i).jacobian)


def test_times_are_exact(model, clip):
    template = record_video(animator(model), clip, checkpoint="tiny").template
    frames = list(read_frames(clip))
    assert list(template.times) == [frame.time for frame in frames] == video_times(clip)
    assert list(template.durations) == [frame.duration for frame in frames]
    assert (template.rate, template.origin.checkpoint, template.origin.fit) == (probe(clip).rate, "tiny", "crop")


def test_progress(model, clip):
    seen = []
    record_video(animator(model, batch_size=4), clip, clock=Clock(looking=lambda *told: seen.append(told)))
    what = f"motion in {clip.name}"
    assert seen == [(what, 4, COUNT), (what, 7, COUNT)]


def test_damaged_frames_are_counted(model, tmp_path):
    driving = write_clip(tmp_path / "d.avi", 12, codec="mjpeg", pix_fmt="yuvj420p", rate=Fraction(25))
    damage(driving, {5, 6})
    found = record_video(animator(model), driving)
    assert (len(found.template), found.skipped) == (10, 2)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_reference_that_is_not_there_is_told_before_the_passes(model, clip, tmp_path, suffix):
    """Also where the container does not count its frames."""
    driving = clip if suffix == ".mp4" else write_clip(tmp_path / "clip.mkv", COUNT)
    passes = []
    with pytest.raises(MediaError, match="0 to 6"):
        record_video(animator(model), driving, reference=99, clock=Clock(looking=lambda *told: passes.append(told)))
    assert passes == []
    assert record_video(animator(model), driving, reference=COUNT - 1).template.reference == COUNT - 1


@pytest.mark.parametrize("face", ["all", "0,1"])
def test_a_template_is_of_one_face(model, clip, face):
    with pytest.raises(ConfigError, match="of one face: choose"):
        record_video(animator(model), clip, framing=Framing(face=face))


class Found:
    """Stands for the analyzer: a face in each picture, as bright as its corner."""

    version = "found"

    def landmarks(self, image):
        return (face(mouth=float(image[0, 0].mean()) / 510),)

    def close(self):
        pass


@pytest.fixture
def painted_clip(tmp_path, monkeypatch):
    monkeypatch.setattr(footage, "open_detector", RedDetector)
    monkeypatch.setattr(recording, "open_analyzer", Found)
    return write_clip(tmp_path / "d.mp4", 4, size=(160, 120), pictures=[painted(160, 120, (50, 30, 90, 80))] * 4)


def test_the_faces_of_all_frames_are_recorded(model, painted_clip):
    faces = record_video(animator(model), painted_clip, framing=Framing()).template.faces
    assert (len(faces), faces.found, faces.analyzer, faces.announced) == (4, 4, "found", 4)


@pytest.mark.parametrize(
    "how", [{"reference": "first"}, {"reference": 2}, {"framing": Framing(crop="center")}, {"framing": None}]
)
def test_faces_are_recorded_only_where_they_serve(model, painted_clip, how, monkeypatch):
    """Not where the reference is known, nor where the clip's faces would not be compared either."""

    def never():
        pytest.fail("no analyzer is needed")

    monkeypatch.setattr(recording, "open_analyzer", never)
    found = record_video(animator(model), painted_clip, **{"framing": Framing(), **how})
    assert found.template.faces is None
    assert found.warnings == ()


def test_without_an_analyzer_motion_is_recorded_all_the_same(model, painted_clip, monkeypatch):
    def missing():
        raise FaceError("faces need mediapipe")

    monkeypatch.setattr(recording, "open_analyzer", missing)
    found = record_video(animator(model), painted_clip, framing=Framing())
    assert found.template.faces is None
    assert "no face shapes" in found.warnings[0]
    assert "faces need mediapipe" in found.warnings[0]


def test_bad_clips(model, tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        record_video(animator(model), tmp_path / "none.mp4")
    recorder = MotionRecorder()
    assert list(record_frames(animator(model), [], recorder)) == []
    with pytest.raises(TemplateError, match="no frames"):
        recorder.template(Fraction(25), Fraction(1, 25), TemplateOrigin(model=animator(model).fingerprint))
