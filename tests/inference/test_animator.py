import itertools
import subprocess
import sys
from inspect import unwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from PIL import Image

from synhead.config import ConfigError
from synhead.data.errors import MediaError
from synhead.inference import animator as animator_module
from synhead.inference.animator import Animator, AnimatorOptions, select_device, select_precision
from synhead.inference.engines import engine_for
from synhead.inference.fast import FastEngine
from synhead.inference.keypoint_stream import joined
from synhead.inference.motion_edits import MotionEdits
from synhead.inference.motion_transfer import movement_scale, transfer_motion
from synhead.inference.smoothing import Smoothing, smooth
from synhead.weights import checkpoint
from tests.inference.conftest import blobs

FRAMES = [blobs(seed) for seed in range(1, 6)]


def tensor(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def levels(image):
    return ((image.clamp(-1, 1) + 1) / 2 * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def animate(model, portrait, *, reference=None, frames=FRAMES, precision="fp32", **options):
    animator = Animator(model, AnimatorOptions(**options), precision=precision)
    animator.observe(portrait)
    return np.stack(list(animator.animate(frames, reference=reference)))


def expected(model, portrait, *, reference=None, adapt_scale=True, absolute=False):
    """Section E written out, one frame at a time."""
    results = []
    with torch.no_grad():
        source = model.observe(tensor(portrait))
        origin = model.keypoint_detector(tensor(FRAMES[0] if reference is None else reference))
        scale = movement_scale(source.keypoints, origin) if adapt_scale else 1.0
        for frame in FRAMES:
            driving = model.keypoint_detector(tensor(frame))
            if not absolute:
                driving = transfer_motion(source.keypoints, driving, origin, scale=scale)
            results.append(levels(model.animate(source, driving).image)[0])
    return np.stack(results)


def assert_same(found, wanted):
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize(
    "mode",
    [{"motion": "relative", "adapt_scale": True}, {"motion": "relative", "adapt_scale": False}, {"motion": "absolute"}],
)
def test_section_e(model, portrait, mode, batch_size):
    wanted = expected(model, portrait, adapt_scale=mode.get("adapt_scale", True), absolute=mode["motion"] == "absolute")
    assert_same(animate(model, portrait, batch_size=batch_size, **mode), wanted)
    assert wanted.std(axis=0).max() > 2, "the frames differ, or this test shows nothing"


def test_modes_differ(model, portrait):
    results = [
        animate(model, portrait, **mode).astype(int)
        for mode in ({"adapt_scale": True}, {"adapt_scale": False}, {"motion": "absolute"})
    ]
    assert all(np.abs(a - b).max() > 1 for a, b in itertools.combinations(results, 2))


def test_reference_frame(model, portrait):
    found = animate(model, portrait, reference=FRAMES[3])
    assert_same(found, expected(model, portrait, reference=FRAMES[3]))
    with torch.no_grad():
        source = model.observe(tensor(portrait))
        unmoved = levels(model.animate(source, source.keypoints).image)[0]
    assert_same(found[3], unmoved)
    assert np.abs(found[0].astype(int) - unmoved).max() > 1


def test_a_reference_in_the_middle_serves_both_directions(model, portrait):
    """Spec E's best frame: one clip forwards and one backwards from it are the frames of a single pass."""
    whole = animate(model, portrait, reference=FRAMES[2])
    forward, backward = (animate(model, portrait, frames=frames) for frames in (FRAMES[2:], FRAMES[2::-1]))
    assert_same(whole, np.concatenate([backward[::-1], forward[1:]]))


def test_edits_at_rest_change_no_bit(model, portrait):
    plain = animate(model, portrait)
    np.testing.assert_array_equal(animate(model, portrait, edits=MotionEdits(multiplier=1.0, parts="all")), plain)


EDITS = [
    MotionEdits(multiplier=0.0),
    MotionEdits(multiplier=2.0),
    MotionEdits(parts="head"),
    MotionEdits(parts="face"),
    MotionEdits(smoothing=Smoothing(frames=1.0)),
    MotionEdits(smoothing=Smoothing(mode="causal", frames=2.0)),
]


def test_edits_differ_and_keep_every_frame(model, portrait):
    results = [animate(model, portrait, batch_size=2, edits=edits).astype(int) for edits in (MotionEdits(), *EDITS)]
    assert all(len(result) == len(FRAMES) for result in results)
    assert all(np.abs(a - b).max() > 1 for a, b in itertools.combinations(results, 2))
    assert np.ptp(results[1], axis=0).max() <= 1, "multiplier 0 holds still"


def test_smoothed_keypoints_are_what_is_rendered(model, portrait):
    smoothing = Smoothing(frames=1.0)
    animator = Animator(model)
    animator.observe(portrait)
    wanted = np.stack(list(animator.follow([joined(smooth(animator.track(FRAMES), smoothing))])))
    assert_same(animate(model, portrait, batch_size=2, edits=MotionEdits(smoothing=smoothing)), wanted)


def test_causal_smoothing_reads_no_further_than_a_batch(model, portrait):
    taken = []
    endless = (taken.append(i) or FRAMES[i % 5] for i in itertools.count())
    edits = MotionEdits(smoothing=Smoothing(mode="causal"))
    animator = Animator(model, AnimatorOptions(batch_size=1, edits=edits))
    animator.observe(portrait)
    next(animator.animate(endless))
    assert len(taken) == 1


@pytest.mark.parametrize("edits", [MotionEdits(multiplier=2.0), MotionEdits(parts="face")])
def test_edits_about_a_reference_need_relative_motion(edits):
    with pytest.raises(ConfigError, match="choose relative"):
        AnimatorOptions(motion="absolute", edits=edits)


def test_the_source_is_computed_once(model, portrait, monkeypatch):
    calls = {"observe": 0, "encoder": 0, "detector": 0}
    observe = model.observe
    monkeypatch.setattr(model, "observe", lambda image: calls.update(observe=calls["observe"] + 1) or observe(image))
    hooks = [
        model.encoder.register_forward_hook(lambda *_: calls.update(encoder=calls["encoder"] + 1)),
        model.keypoint_detector.register_forward_hook(lambda *_: calls.update(detector=calls["detector"] + 1)),
    ]
    animate(model, portrait, batch_size=1)
    for hook in hooks:
        hook.remove()
    assert calls == {"observe": 1, "encoder": 1, "detector": 1 + len(FRAMES)}


def test_animation_is_lazy(model, portrait):
    taken = []
    endless = (taken.append(i) or FRAMES[i % 5] for i in itertools.count())
    animator = Animator(model, AnimatorOptions(batch_size=3))
    animator.observe(portrait)
    images = animator.animate(endless)
    assert taken == []
    next(images)
    assert len(taken) == 3
    assert len(list(itertools.islice(images, 3))) == 3
    assert len(taken) == 6


def test_the_next_batch_is_drawn_while_the_last_is_used(model, portrait):
    done: list[str] = []

    class Later(FastEngine):
        def submit(self, source, driving):
            done.append(f"submitted {driving.position.shape[0]}")
            return super().submit(source, driving)

    engine = Later(model)
    source = engine.observe(portrait)
    batches = [engine.keypoints(FRAMES[:2]), engine.keypoints(FRAMES[2:5]), engine.keypoints(FRAMES[:1])]
    found = []
    for image in animator_module._one_ahead(engine, source, batches):
        done.append("used")
        found.append(image)
    assert done == ["submitted 2", "submitted 3", *["used"] * 2, "submitted 1", *["used"] * 4]
    wanted = [image for batch in batches for image in engine.render(source, batch)]
    assert np.array_equal(found, wanted)


def test_no_frames(model, portrait):
    animator = Animator(model)
    animator.observe(portrait)
    assert list(animator.animate([])) == []


def test_no_gradients_and_eval_mode(model, portrait):
    model.train()
    animator = Animator(model)
    assert not model.training
    animator.observe(portrait)
    assert not animator._source.image.requires_grad
    with torch.enable_grad():
        next(animator.animate(FRAMES))
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_animate_needs_a_portrait(model):
    with pytest.raises(RuntimeError, match="observe"):
        Animator(model).animate(FRAMES)
    with pytest.raises(RuntimeError, match="observe"):
        _ = Animator(model).portrait


def test_a_new_portrait_replaces_the_old(model, portrait):
    animator = Animator(model)
    animator.observe(FRAMES[0])
    animator.observe(portrait)
    assert_same(np.stack(list(animator.animate(FRAMES))), animate(model, portrait))


@pytest.mark.parametrize("kind", ["array", "pil", "path", "string"])
def test_kinds_of_portrait(model, portrait, tmp_path, kind):
    image = Image.fromarray(portrait)
    image.save(tmp_path / "p.png")
    path = tmp_path / "p.png"
    given = {"array": portrait, "pil": image, "path": path, "string": str(path)}[kind]
    animator = Animator(model)
    animator.observe(given)
    np.testing.assert_array_equal(animator.portrait, portrait)


def test_a_transparent_portrait_lies_on_white_as_a_file_does(model, tmp_path):
    image = Image.new("RGBA", (64, 64), (0, 0, 255, 0))
    image.save(tmp_path / "a.png")
    animator = Animator(model)
    for given in (image, tmp_path / "a.png"):
        animator.observe(given)
        assert animator.portrait.min() == 255


def test_a_bad_portrait(model, tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        Animator(model).observe(tmp_path / "none.png")


def test_inputs_of_any_size_are_fitted(model, portrait):
    wide = np.zeros((64, 128, 3), dtype=np.uint8)
    wide[:, 32:96] = FRAMES[1]
    found = animate(model, np.pad(portrait, ((0, 0), (20, 20), (0, 0))), frames=[FRAMES[0], wide])
    assert_same(found, animate(model, portrait, frames=[FRAMES[0], FRAMES[1]]))


def test_levels_are_clamped_and_rounded(model, portrait, monkeypatch):
    animator = Animator(model)
    animator.observe(portrait)
    image = torch.tensor([-9.0, 0.0, 9.0]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64)
    monkeypatch.setattr(model, "animate", lambda *_: SimpleNamespace(image=image))
    assert next(animator.animate(FRAMES[:1]))[0, 0].tolist() == [0, 128, 255]


def test_bf16_is_near_fp32(model, portrait):
    exact, rough = (animate(model, portrait, precision=p).astype(float) for p in ("fp32", "bf16"))
    error = np.abs(exact - rough)
    assert 0 < error.mean() < 2


def test_from_pretrained(model, portrait, tmp_path):
    checkpoint.save(model, tmp_path / "weights")
    animator = Animator.from_pretrained(str(tmp_path / "weights"), device="cpu", options=AnimatorOptions(batch_size=2))
    animator.observe(portrait)
    assert (animator.device.type, animator.precision, animator.image_size) == ("cpu", "fp32", 64)
    assert animator.engine.name == engine_for(animator.device, "fp32")
    assert_same(np.stack(list(animator.animate(FRAMES))), animate(model, portrait))


def test_devices():
    assert select_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="choose"):
        select_device("abacus")
    with pytest.raises(ConfigError, match="choose auto or one of: cpu"):
        select_device("cuda:99")
    assert select_precision("auto", torch.device("cpu")) == "fp32"
    assert select_precision("bf16", torch.device("cpu")) == "bf16"


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "hpu", "vulkan", "mtia"])
def test_devices_that_only_torch_knows(name):
    if torch.accelerator.is_available() and torch.accelerator.current_accelerator().type == name:
        pytest.skip(f"{name} computes here")
    with pytest.raises(ConfigError, match=f"device {name} is not available here; choose auto or one of: cpu"):
        select_device(name)


NO_RGB = """
import numpy as np
from synhead.app.models import untrained
from synhead.data.errors import MediaError
from synhead.inference.animator import Animator

animator = Animator(untrained("tiny"))
levels = np.full((64, 64, 3), 200, dtype=np.uint8)
animator.observe(levels)
for picture in (levels / 255, levels[..., 0]):
    for call in (lambda: animator.observe(picture), lambda: next(animator.animate([picture]))):
        try:
            call()
        except MediaError as error:
            print(error)
"""


def test_pictures_that_are_no_eight_bit_rgb_are_refused():
    """Levels from 0 to 1, in a square of the model's size, were drawn as a black picture. In a process of its own, as
    there nothing else looks at types."""
    done = subprocess.run([sys.executable, "-c", NO_RGB], capture_output=True, text=True, check=True)
    assert done.stdout.count("must be an array of 8-bit RGB") == 4


def test_unknown_precision():
    with pytest.raises(ConfigError, match="'fp16'; choose auto or one of: fp32, bf16"):
        unwrap(select_precision)("fp16", torch.device("cpu"))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"motion": "sideways"}, {"fit": "squeeze"}])
def test_bad_options(options):
    with pytest.raises((ConfigError, TypeCheckError)):  # the latter while types are checked, as in these tests
        AnimatorOptions(**options)
