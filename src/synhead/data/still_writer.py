"""Pictures as files of their own: one still image, or a folder of numbered PNGs."""

from __future__ import annotations

import json
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngInfo

from synhead.data.errors import MediaError
from synhead.data.files import check_folder_output, check_output, replacing, replacing_folder
from synhead.data.image import IMAGE_SUFFIXES, QUALITY, RgbImage, encode_image
from synhead.data.output import Output, OutputSpec

INDEX = "sequence.json"
INDEX_FORMAT = "synhead-png-sequence"
XMP_CHUNK = "XML:com.adobe.xmp"


class _PictureOutput(Output):
    """Writes pictures in the form that their suffix says, with the XMP packet where that form keeps it."""

    def _save(self, path: Path, image: RgbImage) -> None:
        marking = self._spec.marking
        packet = None if marking is None else marking.packet(path)
        try:
            path.write_bytes(encode_image(image, path.suffix, **_options(path.suffix.lower(), packet)))
        except OSError as error:
            raise self._failure(error.strerror) from error


class StillOutput(_PictureOutput):
    """Writes one RGB frame as a PNG, JPEG or WebP file; see Output. A second frame is an error that names a remedy."""

    def __init__(self, path: Path, spec: OutputSpec) -> None:
        super().__init__(path, spec)
        self._target = check_output(path, inputs=spec.protected, suffixes=IMAGE_SUFFIXES)
        self._written = False

    def _begin(self, stack: ExitStack) -> None:
        self._temporary = stack.enter_context(replacing(self._target, self._mark))

    def _finish(self) -> None:
        if not self._written:
            raise self._nothing_written()

    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Write the frame; there is no time in a still image."""
        del time, duration
        if self._written:
            raise one_picture(self.path)
        self._save(self._temporary, image)
        self._written = True


class SequenceOutput(_PictureOutput):
    """Writes RGB frames into a folder as 000000.png, 000001.png ..., with their times in ``sequence.json``; see Output.

    Every file is marked by itself. An earlier sequence of ours in that folder is replaced as a whole; any other
    content is an error.
    """

    def __init__(self, path: Path, spec: OutputSpec) -> None:
        super().__init__(path, spec)
        self._target = check_folder_output(path, inputs=spec.protected, ours=is_sequence)
        self._times: list[tuple[Fraction, Fraction]] = []

    def _begin(self, stack: ExitStack) -> None:
        self._temporary = stack.enter_context(replacing_folder(self._target))

    def _finish(self) -> None:
        if not self._times:
            raise self._nothing_written()
        try:
            _write_index(self._temporary / INDEX, self._spec.rate, self._times)
        except OSError as error:
            raise self._failure(error.strerror) from error

    def write(self, image: RgbImage, *, time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Write the next file: at ``time`` (the first one's becomes zero) or one frame after the last."""
        begin = self._next(time, duration)
        file = self._temporary / frame_name(len(self._times))
        self._save(file, image)
        self._mark(file)
        self._times.append((begin, self._end - begin))


def one_picture(path: Path) -> MediaError:
    """What to raise where a second frame would come."""
    return MediaError(f"a {path.suffix.lower()} file holds one picture; name a video, a .gif or a folder for more")


def frame_name(index: int) -> str:
    """The file of frame ``index`` in a sequence."""
    return f"{index:06d}.png"


def sequence_files(folder: Path) -> list[Path] | None:
    """The pictures of a sequence of ours, in order, as its index names them; None if ``folder`` holds none."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if index["format"] != INDEX_FORMAT:
            return None
        return [folder / frame_name(number) for number in range(len(index["frames"]))]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_sequence(folder: Path) -> bool:
    """Whether ``folder`` holds a sequence of ours and nothing else, so that it may be replaced."""
    files = sequence_files(folder)
    return files is not None and set(folder.iterdir()) <= {*files, folder / INDEX}


def _options(suffix: str, packet: str | None) -> dict[str, Any]:
    if suffix != ".png":
        return {"quality": QUALITY} if packet is None else {"quality": QUALITY, "xmp": packet.encode()}
    if packet is None:
        return {}
    info = PngInfo()
    info.add_itxt(XMP_CHUNK, packet)
    return {"pnginfo": info}


def _write_index(path: Path, rate: Fraction, times: list[tuple[Fraction, Fraction]]) -> None:
    frames = [[str(begin), str(lasting)] for begin, lasting in times]
    facts = {"format": INDEX_FORMAT, "version": 1, "rate": str(rate), "unit": "seconds", "frames": frames}
    path.write_text(json.dumps(facts) + "\n", encoding="utf-8")
