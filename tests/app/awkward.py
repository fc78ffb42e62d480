"""Awkward inputs, made of the public-domain portrait that scikit-image ships and of the demo's rendered driver.

``python -m tests.app.awkward FOLDER`` writes them in the sizes that users have; tests make small ones.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from tests.data.video_factory import NTSC, Tone, set_display_matrix, write_clip

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """Files of one run, and the options it needs."""

    source: Path
    driving: Path
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Maker:
    """Makes inputs in ``folder``. ``scale``: 1 for the sizes that users have. ``frames``: of each driver."""

    folder: Path
    scale: float = 1.0
    frames: int = 25

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Even, as video needs it."""
        return round(width * self.scale / 2) * 2, round(height * self.scale / 2) * 2

    def photo(self, name: str, image: Image.Image) -> Path:
        path = self.folder / f"{name}.png"
        image.save(path)
        return path

    def driver(self, name: str = "plain", size: tuple[int, int] = (512, 512), **how: object) -> Path:
        """The rendered driver in the middle of a picture of that size, in its upper half if that is tall."""
        path = self.folder / f"{name}.mp4"
        if not path.exists():
            pictures = [placed(frame, size) for frame in rendered(self.frames)]
            write_clip(path, how.pop("times", self.frames), size=size, pictures=pictures, **how)
        return path


def astronaut() -> Image.Image:
    return Image.fromarray(importlib.import_module("skimage.data").astronaut())


def rendered(frames: int) -> list[Image.Image]:
    footage = _footage()
    return [Image.fromarray(frame) for frame in footage.driver_frames(frames, 12.5)]


def placed(frame: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The square driver before a blurred enlargement of itself."""
    side = min(size)
    ground = ImageOps.fit(frame, size).filter(ImageFilter.GaussianBlur(side / 8))
    square = frame.resize((side * 3 // 4,) * 2, Image.Resampling.BICUBIC)
    ground.paste(square, ((size[0] - square.width) // 2, (size[1] - square.height) // (4 if size[1] > size[0] else 2)))
    return np.asarray(ground)


def small_face(make: Maker) -> Case:
    width, height = make.size(4000, 3000)
    person = astronaut().resize((width // 8,) * 2, Image.Resampling.LANCZOS)
    sky = np.linspace(200, 120, height)[:, None] + np.zeros((height, width))
    ground = Image.fromarray(np.stack([sky * 0.7, sky * 0.85, sky], axis=-1).astype(np.uint8))
    ground.paste(person, (width * 5 // 8, height - person.height))
    return Case(make.photo("small_face", ground), make.driver())


def two_faces(make: Maker) -> Case:
    person = astronaut()
    other = ImageOps.mirror(person).resize((400, 400), Image.Resampling.LANCZOS)
    pair = Image.new("RGB", (1024, 512), (90, 100, 120))
    pair.paste(person, (0, 0))
    pair.paste(ImageOps.autocontrast(other), (560, 112))
    return Case(make.photo("two_faces", pair.resize(make.size(1024, 512))), make.driver(), ("--face", "all"))


def profile(make: Maker) -> Case:
    """Half a head turned away: its right side is foreshortened. No photograph of a profile is free to us."""
    person = astronaut()
    left, right = person.crop((0, 0, 224, 512)), person.crop((224, 0, 512, 512))
    turned = Image.new("RGB", (224 + 144, 512))
    turned.paste(left, (0, 0))
    turned.paste(right.resize((144, 512), Image.Resampling.LANCZOS), (224, 0))
    return Case(make.photo("profile", turned), make.driver())


def glasses(make: Maker) -> Case:
    person = astronaut()
    pen = ImageDraw.Draw(person)
    for x, y in ((203, 104), (248, 106)):
        pen.ellipse((x - 20, y - 15, x + 20, y + 15), outline=(20, 20, 20), width=4)
    pen.line((223, 104, 228, 105), fill=(20, 20, 20), width=4)
    return Case(make.photo("glasses", person), make.driver())


def child(make: Maker) -> Case:
    """A child's proportions: lower face shortened, forehead heightened."""
    person = np.asarray(astronaut())
    rows = np.arange(512, dtype=float)
    rows = np.where(rows < 130, rows * 105 / 130, np.where(rows < 170, 105 + (rows - 130) * 75 / 40, rows + 10))
    return Case(make.photo("child", Image.fromarray(person[rows.clip(0, 511).astype(int)])), make.driver())


def painting(make: Maker) -> Case:
    painted = ImageOps.posterize(astronaut().filter(ImageFilter.ModeFilter(7)), 4)
    return Case(make.photo("painting", painted.filter(ImageFilter.UnsharpMask(4))), make.driver())


def phone_rotation(make: Maker) -> Case:
    """Stored lying on its side, with the display matrix by which players stand it up."""
    width, height = make.size(720, 1280)
    path = make.folder / "phone_rotation.mp4"
    lying = [np.rot90(placed(frame, (width, height)), 1) for frame in rendered(make.frames)]
    write_clip(path, make.frames, size=(height, width), pictures=lying)
    return Case(make.photo("plain", astronaut()), set_display_matrix(path, (0, 1, -1, 0)))


def variable_rate(make: Maker) -> Case:
    steps = [(3000, 3003, 1500, 9000)[i % 4] for i in range(make.frames)]
    times = [Fraction(sum(steps[:i]), 90000) for i in range(make.frames)]
    driver = make.driver("variable_rate", times=times, time_base=Fraction(1, 90000))
    return Case(make.photo("plain", astronaut()), driver)


def ntsc_with_sound(make: Maker) -> Case:
    tone = Tone(seconds=make.frames / 29.97, burst=0.2)
    return Case(make.photo("plain", astronaut()), make.driver("ntsc", rate=NTSC, tone=tone))


def vertical(make: Maker) -> Case:
    return Case(make.photo("plain", astronaut()), make.driver("vertical", make.size(1080, 1920)))


def black_and_white(make: Maker) -> Case:
    return Case(make.photo("black_and_white", astronaut().convert("L")), make.driver())


def ten_bit(make: Maker) -> Case:
    return Case(make.photo("plain", astronaut()), make.driver("ten_bit", codec="libx265", pix_fmt="yuv420p10le"))


CASES: dict[str, Callable[[Maker], Case]] = {
    maker.__name__: maker
    for maker in (
        *(small_face, two_faces, profile, glasses, child, painting),
        *(phone_rotation, variable_rate, ntsc_with_sound, vertical, black_and_white, ten_bit),
    )
}


def _footage() -> ModuleType:
    """``examples/footage.py``, which is no package."""
    if "footage" not in sys.modules:
        spec = importlib.util.spec_from_file_location("footage", ROOT / "examples" / "footage.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules["footage"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["footage"])
    return sys.modules["footage"]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for maker in CASES.values():
        maker(Maker(folder))
