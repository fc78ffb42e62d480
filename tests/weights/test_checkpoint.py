"""Our checkpoint directories: round trips, and one-line errors for everything that can be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from synhead.config import preset
from synhead.model.talking_head import TalkingHead
from synhead.weights import checkpoint, hub
from synhead.weights.errors import CheckpointError


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TalkingHead(preset("tiny")).eval()


@pytest.fixture
def saved(model, tmp_path):
    return checkpoint.save(model, tmp_path / "tiny", notes=("made by a test",))


def output(model):
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        return model.animate(model.observe(image), model.keypoint_detector(image.flip(-1))).image


def test_save_load_same_output(model, saved):
    assert torch.equal(output(checkpoint.load(saved)), output(model))
    info = checkpoint.read_info(saved)
    assert info.model == model.config
    assert info.notes == ("made by a test",)


def test_half_precision_halves_the_file_and_loads_as_float32(model, saved, tmp_path):
    half = checkpoint.save(model, tmp_path / "half", dtype=torch.float16)
    sizes = [(folder / checkpoint.WEIGHTS_FILE).stat().st_size for folder in (half, saved)]
    assert sizes[0] < 0.56 * sizes[1]
    assert {p.dtype for p in checkpoint.load(half).parameters()} == {torch.float32}


def test_saving_again_replaces_and_leaves_nothing_behind(model, saved):
    checkpoint.save(model, saved)
    assert sorted(entry.name for entry in saved.parent.iterdir()) == [saved.name]
    assert torch.equal(output(checkpoint.load(saved)), output(model))


def test_other_directories_are_not_overwritten(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="choose another output"):
        checkpoint.save(model, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_failure_while_writing_leaves_the_old_checkpoint(model, saved, monkeypatch):
    before = (saved / checkpoint.WEIGHTS_FILE).read_bytes()

    def full(tensors, path):
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(model, saved)
    assert (saved / checkpoint.WEIGHTS_FILE).read_bytes() == before
    assert sorted(entry.name for entry in saved.parent.iterdir()) == [saved.name]


def rewrite(folder, change):
    tensors = load_file(folder / checkpoint.WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / checkpoint.WEIGHTS_FILE)


def reconfigure(folder, change):
    path = folder / checkpoint.CONFIG_FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


BROKEN = {
    "missing tensor": (lambda f: rewrite(f, lambda t: t.pop("decoder.head.bias")), "missing decoder.head.bias"),
    "unexpected tensor": (lambda f: rewrite(f, lambda t: t.update(x=torch.ones(1))), "unexpected x"),
    "wrong shape": (lambda f: rewrite(f, lambda t: t.update({"decoder.head.bias": torch.ones(4)})), "wrong shape"),
    "no numbers": (
        lambda f: rewrite(f, lambda t: t["decoder.head.bias"].fill_(torch.nan)),
        "decoder.head.bias.*use weights saved before that",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "copy the whole"),
    "no config": (lambda f: (f / "config.json").unlink(), "is it a Synhead checkpoint"),
    "damaged weights": (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 99), "damaged"),
    "config is no JSON": (lambda f: (f / "config.json").write_text("{"), "not JSON"),
    "unknown field": (lambda f: reconfigure(f, lambda c: c["model"].update(wings=2)), "wings"),
    "missing field": (lambda f: (f / "config.json").write_text("{}"), r"missing field\(s\) model; is this the right"),
    "ill-typed field": (lambda f: reconfigure(f, lambda c: c["model"].update(image_size="big")), "image_size"),
    "impossible sizes": (lambda f: reconfigure(f, lambda c: c["model"].update(image_size=65)), "divisible"),
    "newer format": (lambda f: reconfigure(f, lambda c: c.update(format_version=99)), "upgrade synhead"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_checkpoints_name_the_remedy(saved, how):
    damage, message = BROKEN[how]
    damage(saved)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)


def test_missing_directory(tmp_path):
    with pytest.raises(CheckpointError, match="synhead convert"):
        checkpoint.load(tmp_path / "nowhere")


def test_hub_ids_and_paths(saved, tmp_path, monkeypatch):
    assert hub.resolve(saved) == saved
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        hub.resolve("./nowhere/at-all")
    asked = []

    def download(repo, revision):
        asked.append((repo, revision))
        return saved

    monkeypatch.setattr(hub, "_download", download)
    assert hub.resolve("someone/synhead-base@0a1b2c3d") == saved
    assert asked == [("someone/synhead-base", "0a1b2c3d")]
    with pytest.raises(CheckpointError, match="SHA-256"):
        hub.resolve(f"someone/synhead-base@0a1b2c3d#sha256={'0' * 64}")


def test_hub_out_of_reach_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(CheckpointError, match="check the name and the connection") as caught:
        hub.resolve("someone/not-cached-anywhere")
    assert "\n" not in str(caught.value)
