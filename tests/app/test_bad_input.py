"""Bad input through the program: one line with a remedy, exit code 2, and nothing left behind; odd input works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.app.conftest import Finished

Run = Callable[..., Finished]


class Bomb:
    """Pickles to a call that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


def assert_refused(finished: Finished, *parts: str) -> None:
    lines = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert finished.code == 2
    assert len(lines) == 1
    assert "Traceback" not in finished.err
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for the output."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def no_frames(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.start_encoding()
    return path


def test_a_video_without_frames(run: Run, media: Path, tmp_path: Path, out: Path) -> None:
    driving = no_frames(tmp_path / "none.mp4")
    given = ("animate", media / "portrait.jpg", driving, "-o", out / "out.mp4", "--preset", "tiny")
    finished = run(*given, "--crop", "center")
    assert_refused(finished, "none.mp4")
    assert not list(out.iterdir())


def test_an_image_of_one_pixel(run: Run, media: Path, tmp_path: Path, out: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    finished = run("animate", tmp_path / "dot.png", media / "driving.mp4", "-o", out / "out.mp4", "--preset", "tiny")
    assert_refused(finished, "dot.png", "1 x 1", "at least 16")
    assert not list(out.iterdir())


def odd_images() -> dict[str, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (72, 64, 4), dtype=np.uint8)
    rotated = Image.fromarray(pixels[..., :3])
    rotated.getexif()[0x0112] = 6
    return {
        "alpha.png": Image.fromarray(pixels, "RGBA"),
        "grey.png": Image.fromarray(pixels[..., 0]),
        "deep.png": Image.fromarray(pixels[..., 0].astype(np.uint16) * 257),
        "cmyk.jpg": Image.fromarray(pixels, "CMYK"),
        "turned.jpg": rotated,
    }


@pytest.mark.parametrize("name", ["alpha.png", "grey.png", "deep.png", "cmyk.jpg", "turned.jpg"])
def test_odd_images_work(run: Run, name: str, media: Path, tmp_path: Path, out: Path) -> None:
    image = odd_images()[name]
    image.save(tmp_path / name, **({"exif": image.getexif()} if name == "turned.jpg" else {}))
    given = ("animate", tmp_path / name, media / "driving.mp4", "-o", out / "out.mp4", "--preset", "tiny")
    finished = run(*given, "--crop", "center", "--driving-crop", "center")
    assert finished.code == 0, finished.err
    assert [path.name for path in out.iterdir()] == ["out.mp4"]


def test_a_checkpoint_that_lacks_a_tensor(run: Run, media: Path, tiny: Path, tmp_path: Path, out: Path) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    lost = sorted(tensors)[3]
    del tensors[lost]
    save_file(tensors, broken / "model.safetensors")
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", out / "out.mp4", "--checkpoint", broken)
    assert_refused(run(*given), lost, "missing")
    assert not list(out.iterdir())


def test_code_in_a_checkpoint_to_convert(run: Run, tmp_path: Path, out: Path) -> None:
    mark = tmp_path / "executed"
    for name in ("net_g.pth", "net_motion_estimator.pth"):
        torch.save({"params": {"w": Bomb(mark)}}, tmp_path / name)
    finished = run("convert", tmp_path / "net_g.pth", tmp_path / "net_motion_estimator.pth", "-o", out / "paper")
    assert_refused(finished, "could execute code")
    assert not mark.exists()
    assert not list(out.iterdir())
