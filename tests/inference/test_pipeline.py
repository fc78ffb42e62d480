import itertools
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from PIL import Image

from synhead.data.errors import MediaError
from synhead.data.image import fit_image
from synhead.data.video import VideoReader, probe, read_frames
from synhead.faces.framing import Framing
from synhead.inference import pipeline
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.job import AnimationJob, OutputOptions
from synhead.inference.pipeline import animate_video as animate_job
from synhead.inference.scene import SILENT
from synhead.provenance import credentials
from synhead.provenance.errors import ProvenanceError
from synhead.types import Keypoints
from tests.data.video_factory import (
    NTSC,
    Tone,
    audio_end,
    damage,
    level,
    onset,
    set_display_matrix,
    video_times,
    write_clip,
)
from tests.inference.conftest import blobs


@pytest.fixture
def animator(model) -> Animator:
    return Animator(model, AnimatorOptions(batch_size=4))


@pytest.fixture
def light(model, monkeypatch) -> Animator:
    """An animator without the arithmetic: frames still go through in batches, each comes out grey."""
    animator = Animator(model, AnimatorOptions(batch_size=4))
    grey = np.full((64, 64, 3), 128, dtype=np.uint8)

    def still(frames):
        jacobian = torch.eye(2).expand(len(frames), 5, 2, 2)
        return Keypoints(position=torch.zeros(len(frames), 5, 2), jacobian=jacobian)

    monkeypatch.setattr(animator.engine, "keypoints", still)
    monkeypatch.setattr(animator.engine, "render", lambda _, driving: np.stack([grey] * len(driving.position)))
    return animator


@pytest.fixture
def face(tmp_path):
    path = tmp_path / "face.png"
    Image.fromarray(blobs(0, 96)).save(path)
    return path


def animate_video(animator, source, driving, output, *, progress=None, reference=None, **options):
    """A job about the middle of both files: what most tests are about needs no faces."""
    middle = Framing(crop="center")
    job = AnimationJob(
        source=source,
        driving=driving,
        output=output,
        framing=middle,
        driving_framing=middle,
        reference=reference,
        options=OutputOptions(**options),
    )
    return animate_job(animator, job, progress)


def smooth(image):
    """Means of 8 x 8 blocks: what an untrained model draws is noise, whose colours 4:2:0 video cannot hold."""
    return image.astype(float).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def no_thread_remains() -> bool:
    return not any(thread.name == "synhead-prefetch" for thread in threading.enumerate())


def test_three_seconds_with_sound(light, face, tmp_path):
    driving = write_clip(tmp_path / "d.mp4", 90, size=(96, 64), tone=Tone(seconds=3.1, burst=2.5))
    seen = []
    report = animate_video(light, face, driving, tmp_path / "out.mp4", progress=lambda *state: seen.append(state))
    assert (report.frames, report.skipped, report.rate, report.audio) == (90, 0, NTSC, "copied")
    assert (report.size, report.pasted) == ((64, 64), False)
    assert min(report.seconds.decode, report.seconds.model, report.seconds.encode) > 0
    assert seen == [(i + 1, 90) for i in range(90)]
    info = probe(tmp_path / "out.mp4")
    assert (info.rate, info.width, info.height) == (NTSC, 64, 64)
    assert video_times(tmp_path / "out.mp4") == [i / NTSC for i in range(90)]
    assert onset(tmp_path / "out.mp4") == pytest.approx(onset(driving), abs=1e-3)
    assert audio_end(tmp_path / "out.mp4") == pytest.approx(float(90 / NTSC), abs=0.034)
    assert names(tmp_path) == {"d.mp4", "face.png", "out.mp4"}


def test_pictures_stay_in_step(animator, face, tmp_path):
    """Side by side: the portrait, driving frame i, and what the animator makes of it."""
    driving = write_clip(tmp_path / "d.mp4", 11)
    animate_video(animator, face, driving, tmp_path / "out.mp4", side_by_side=True, crf=4)
    rows = [frame.image for frame in read_frames(tmp_path / "out.mp4")]
    assert [level(row[:, 64:128]) for row in rows] == list(range(11))
    animator.observe(face)
    wanted = list(animator.animate(frame.image for frame in read_frames(driving)))
    for row, image in zip(rows, wanted, strict=True):
        assert row.shape == (64, 192, 3)
        assert np.abs(smooth(row[:, :64]) - smooth(fit_image(blobs(0, 96), 64))).mean() < 8
        assert np.abs(smooth(row[:, 128:]) - smooth(image)).mean() < 8


def test_variable_rate(light, face, tmp_path):
    times = [Fraction(t, 90000) for t in (0, 3000, 7500, 8000, 20000, 23003, 80000)]
    driving = write_clip(tmp_path / "d.mp4", times, time_base=Fraction(1, 90000))
    animate_video(light, face, driving, tmp_path / "out.mp4")
    assert video_times(tmp_path / "out.mp4") == times


def test_rotated_driver(light, face, tmp_path):
    upright = write_clip(tmp_path / "u.mp4", 1)
    turned = set_display_matrix(write_clip(tmp_path / "t.mp4", 1), (0, 1, -1, 0))
    panels = []
    for driving in (upright, turned):
        animate_video(light, face, driving, tmp_path / "out.mp4", side_by_side=True, crf=4)
        panels.append(next(iter(read_frames(tmp_path / "out.mp4"))).image[:, 64:128].astype(int))
    assert np.abs(panels[1] - np.rot90(panels[0], -1)).mean() < 6


def test_reference_frame_is_read_ahead_and_all_frames_are_kept(animator, face, tmp_path):
    driving = write_clip(tmp_path / "d.mp4", 9)
    report = animate_video(animator, face, driving, tmp_path / "out.mp4", reference=5, crf=4)
    assert (report.frames, report.reference) == (9, 5)
    animator.observe(face)
    given = [frame.image for frame in read_frames(driving, size=64)]
    wanted = animator.animate(given, reference=given[5])
    for frame, image in zip(read_frames(tmp_path / "out.mp4"), wanted, strict=True):
        assert np.abs(smooth(frame.image) - smooth(image)).mean() < 8


@pytest.mark.parametrize("index", [9, 99])
def test_reference_frame_out_of_range(light, face, tmp_path, index):
    driving = write_clip(tmp_path / "d.mp4", 9)
    with pytest.raises(MediaError, match="from 0 to 8"):
        animate_video(light, face, driving, tmp_path / "out.mp4", reference=index)
    assert names(tmp_path) == {"d.mp4", "face.png"}


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("out.mp4", {"codec": "vp9"}, "take no vp9"),
        ("out.mp4", {"crf": 60}, "crf 60 is out of range"),
        ("out.gif", {"codec": "h265"}, r"a \.gif file has no codec; leave codec out, or name a video"),
        ("out.png", {"crf": 0}, r"a \.png file has no crf; leave crf out, or name a video"),
        ("out", {"codec": "av1", "crf": 30}, "a folder of PNGs has no codec and no crf; leave codec and crf out"),
        ("out.mp4", {"certificate": Path("none.pem"), "key": Path("none.pem")}, "none.pem cannot be read"),
        ("out.mp4", "root", "certificate"),
        ("out", "root", "certificate"),
    ],
)
def test_what_would_fail_at_the_end_is_told_before_any_work(light, face, tmp_path, monkeypatch, name, options, told):
    if options == "root":
        options = signer_of_certificates_alone(tmp_path)
    driving = write_clip(tmp_path / "d.mp4", 3)
    before = names(tmp_path)
    monkeypatch.setattr(pipeline, "open_scene", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises((MediaError, ProvenanceError), match=told):
        animate_video(light, face, driving, tmp_path / name, **options)
    assert names(tmp_path) == before


@pytest.mark.parametrize("audio", ["driver", "source", "none"])
def test_the_sound_of_a_photo_is_said_to_be_none(light, face, tmp_path, audio):
    driving = write_clip(tmp_path / "d.mp4", 3, tone=Tone())
    report = animate_video(light, face, driving, tmp_path / "out.mp4", audio=audio)
    assert report.audio == ("copied" if audio == "driver" else "none")
    assert [warning for warning in report.warnings if "no sound" in warning] == [SILENT] * (audio == "source")


def test_a_still_for_a_moving_driver_is_told_before_any_pass(light, face, tmp_path, monkeypatch):
    single, moving = write_clip(tmp_path / "one.mp4", 1), write_clip(tmp_path / "d.mp4", 3)
    assert animate_video(light, face, single, tmp_path / "out.png").frames == 1
    monkeypatch.setattr("synhead.inference.scene.framed_footage", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(MediaError, match=r"a \.png file holds one picture; name a video"):
        animate_video(light, face, moving, tmp_path / "more.png")
    assert not (tmp_path / "more.png").exists()


def signer_of_certificates_alone(folder: Path) -> dict[str, Path]:
    """C2PA refuses it, but only when there is something to sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = credentials._name("root")
    own = credentials._certificate(name, key.public_key(), name, key, authority=True)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "cert.pem").write_bytes(own.public_bytes(Encoding.PEM))
    return {"certificate": folder / "cert.pem", "key": folder / "key.pem"}


def test_without_sound(light, face, tmp_path):
    driving = write_clip(tmp_path / "d.mp4", 3, tone=Tone())
    report = animate_video(light, face, driving, tmp_path / "out.mp4", audio="none")
    assert report.audio == "none"
    assert not probe(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at", [1, 7])
def test_interrupt_leaves_the_earlier_output(light, face, tmp_path, failure, at):
    driving = write_clip(tmp_path / "d.mp4", 40, tone=Tone())
    (tmp_path / "out.mp4").write_bytes(b"earlier")

    def progress(done, total):
        if done == at:
            raise failure

    with pytest.raises(failure):
        animate_video(light, face, driving, tmp_path / "out.mp4", progress=progress)
    assert (tmp_path / "out.mp4").read_bytes() == b"earlier"
    assert names(tmp_path) == {"d.mp4", "face.png", "out.mp4"}
    assert no_thread_remains()


def test_failure_of_the_model(animator, face, tmp_path, monkeypatch):
    driving = write_clip(tmp_path / "d.mp4", 12)

    def fail(source, keypoints):
        raise MemoryError

    monkeypatch.setattr(animator.model, "animate", fail)
    with pytest.raises(MemoryError):
        animate_video(animator, face, driving, tmp_path / "out.mp4")
    assert names(tmp_path) == {"d.mp4", "face.png"}
    assert no_thread_remains()


def test_few_frames_are_held(light, face, tmp_path, monkeypatch):
    driving = write_clip(tmp_path / "d.mp4", 80)
    read, lead = [], []
    frame = VideoReader.frame
    monkeypatch.setattr(VideoReader, "frame", lambda self, picture: read.append(1) or frame(self, picture))
    animate_video(light, face, driving, tmp_path / "out.mp4", progress=lambda done, _: lead.append(len(read) - done))
    batch = light.options.batch_size
    assert max(lead) <= batch + 2 * batch + 2


def test_damaged_frames_are_reported(light, face, tmp_path):
    driving = write_clip(tmp_path / "d.avi", 12, codec="mjpeg", pix_fmt="yuvj420p", rate=Fraction(25))
    damage(driving, {5, 6})
    report = animate_video(light, face, driving, tmp_path / "out.mp4")
    assert (report.frames, report.skipped) == (10, 2)
    assert video_times(tmp_path / "out.mp4") == [Fraction(i, 25) for i in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)]


@pytest.mark.parametrize(
    ("which", "kind"),
    [*itertools.product(["portrait", "driving"], ["missing", "text", "folder"]), ("driving", "swapped")],
)
def test_bad_inputs_stop_before_any_work(animator, face, tmp_path, monkeypatch, which, kind):
    driving = write_clip(tmp_path / "d.mp4", 2)
    bad = tmp_path / ("bad.png" if which == "portrait" else "bad.mp4")
    if kind == "text":
        bad.write_text("neither\n" * 50)
    if kind == "folder":
        bad.mkdir()
    if kind == "swapped":
        bad = face
    monkeypatch.setattr(animator.model, "observe", lambda _: pytest.fail("work began"))
    before = names(tmp_path)
    inputs = (bad, driving) if which == "portrait" else (face, bad)
    with pytest.raises(MediaError) as caught:
        animate_video(animator, *inputs, tmp_path / "out.mp4")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize("output", ["d.mp4", "link.mp4", "no/out.mp4", "out.avi"])
def test_bad_outputs_stop_before_any_work(animator, face, tmp_path, monkeypatch, output):
    driving = write_clip(tmp_path / "d.mp4", 2)
    (tmp_path / "link.mp4").symlink_to(driving)
    monkeypatch.setattr(animator.model, "observe", lambda _: pytest.fail("work began"))
    before = driving.read_bytes()
    with pytest.raises(MediaError):
        animate_video(animator, face, driving, tmp_path / output)
    assert driving.read_bytes() == before
    assert names(tmp_path) == {"d.mp4", "face.png", "link.mp4"}


def test_one_frame(animator, face, tmp_path):
    report = animate_video(animator, face, write_clip(tmp_path / "d.mp4", 1), tmp_path / "out.mp4")
    assert report.frames == 1
    assert video_times(tmp_path / "out.mp4") == [0]
