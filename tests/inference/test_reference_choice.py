from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
import torch
from PIL import Image

from synhead.data.errors import MediaError
from synhead.faces.analyzer import FaceLandmarks
from synhead.faces.boxes import bounding_box
from synhead.faces.framing import Framing
from synhead.inference import footage, recording, reference_choice
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.inference.clock import Clock
from synhead.inference.job import AnimationJob
from synhead.inference.recording import record_video
from synhead.inference.reference_choice import choose_reference
from synhead.inference.scene import open_scene
from synhead.inference.template import TemplateError
from synhead.inference.template_file import write_template
from tests.data.video_factory import write_clip
from tests.faces.pictures import RedDetector, painted
from tests.inference.engine_double import ShiftEngine

SIZE = (160, 120)
FACE = (50, 30, 90, 80)


class MouthAnalyzer:
    """A mesh whose mouth is as wide open as the brightness of the picture's corner says."""

    version = "mouth"

    def landmarks(self, image):
        points = np.random.default_rng(0).normal(scale=20, size=(478, 2)).astype(np.float32)
        points[13], points[78], points[308] = (50, 50), (40, 50), (60, 50)
        points[14] = (50, 50 + image[:4, :4].mean() / 10)
        return (FaceLandmarks(points, points[:, 0].copy(), bounding_box(points), 1.0),)

    def close(self):
        pass


@pytest.fixture(autouse=True)
def _doubles(monkeypatch):
    monkeypatch.setattr(footage, "open_detector", RedDetector)
    monkeypatch.setattr(reference_choice, "open_analyzer", MouthAnalyzer)
    monkeypatch.setattr(recording, "open_analyzer", MouthAnalyzer)


@pytest.fixture
def animator(model) -> Animator:
    animator = Animator(model, AnimatorOptions(batch_size=2))
    animator.engine = ShiftEngine(64)
    return animator


def picture(grey: int) -> np.ndarray:
    image = painted(*SIZE, FACE)
    image[(image == 120).all(axis=-1)] = grey
    return image


@pytest.fixture
def driving(tmp_path):
    greys = [20, 40, 60, 80, 100, 140, 180, 140, 100, 60]
    return write_clip(tmp_path / "d.mp4", len(greys), size=SIZE, pictures=[picture(grey) for grey in greys])


def chosen(animator, tmp_path, driving, **fields):
    source = tmp_path / "photo.png"
    Image.fromarray(picture(178)).save(source)
    job = AnimationJob(source=source, driving=driving, output=tmp_path / "out.mp4", **fields)
    with ExitStack() as stack:
        scene = open_scene(animator, job, Clock(), stack)
        return choose_reference(animator, job, scene, Clock())


def test_the_frame_most_like_the_portrait_is_found_and_told(animator, tmp_path, driving):
    found = chosen(animator, tmp_path, driving)
    assert found.index == 6
    assert "driver frame 6 fits the portrait best" in found.reason
    assert found.keypoints is not None


def test_a_named_frame_is_taken(animator, tmp_path, driving):
    assert chosen(animator, tmp_path, driving, reference=3).reason == "driver frame 3, as named"
    with pytest.raises(MediaError, match="from 0 to 9"):
        chosen(animator, tmp_path, driving, reference=10)


@pytest.mark.parametrize("kind", ["video", "template"])
def test_a_named_frame_that_is_not_there_is_told_before_faces_are_looked_for(
    animator, tmp_path, driving, monkeypatch, kind
):
    given = driving if kind == "video" else template(animator, tmp_path, driving, framing=Framing())
    monkeypatch.setattr(footage, "open_detector", lambda: pytest.fail("a detector was opened"))
    with pytest.raises((MediaError, TemplateError), match="from 0 to 9"):
        chosen(animator, tmp_path, given, reference=10)


def test_without_faces_the_first(animator, tmp_path, driving):
    middle = Framing(crop="center")
    found = chosen(animator, tmp_path, driving, framing=middle, driving_framing=middle)
    assert (found.index, found.keypoints) == (0, None)


def template(animator, tmp_path, driving, **how):
    path = tmp_path / "m.safetensors"
    write_template(path, record_video(animator, driving, **how).template)
    return path


def test_a_template_gives_the_choice_of_its_clip(animator, tmp_path, driving):
    of_clip = chosen(animator, tmp_path, driving)
    of_template = chosen(animator, tmp_path, template(animator, tmp_path, driving, framing=Framing()))
    assert (of_template.index, of_template.reason) == (of_clip.index, of_clip.reason)
    assert of_template.index > 0
    assert torch.equal(of_template.keypoints.position, of_clip.keypoints.position)
    assert torch.equal(of_template.keypoints.jacobian, of_clip.keypoints.jacobian)
    assert of_template.warnings == ()


def test_a_template_brings_its_own(animator, tmp_path, driving):
    noted = template(animator, tmp_path, driving, framing=Framing(), reference=4)
    found = chosen(animator, tmp_path, noted)
    assert (found.index, found.reason) == (4, "driver frame 4, as recorded")
    assert chosen(animator, tmp_path, noted, reference=2).index == 2


def test_a_template_without_face_shapes_starts_from_its_first_frame_and_says_so(animator, tmp_path, driving):
    bare = template(animator, tmp_path, driving, framing=Framing(), reference="first")
    found = chosen(animator, tmp_path, bare)
    assert (found.index, found.reason) == (0, "driver frame 0, the first")
    (warning,) = found.warnings
    assert "no face shapes" in warning
    assert "--reference INDEX" in warning
    assert "synhead record" in warning
    middle = chosen(animator, tmp_path, bare, framing=Framing(crop="center"))
    assert (middle.index, middle.warnings) == (0, ())  # its clip would be given the first too


def test_faces_measured_by_another_analyzer_are_told(animator, tmp_path, driving, monkeypatch):
    shapes = template(animator, tmp_path, driving, framing=Framing())
    monkeypatch.setattr(MouthAnalyzer, "version", "another mouth")
    found = chosen(animator, tmp_path, shapes)
    assert found.index == 6
    assert "measured by mouth, the portrait's by another mouth" in found.warnings[0]
