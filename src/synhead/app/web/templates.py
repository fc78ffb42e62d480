"""Motions that the server offers by name: templates and short clips of one folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from synhead.app.errors import explain
from synhead.app.web.contents import check_length, check_video
from synhead.app.web.limits import Limits
from synhead.app.web.problems import RefusedError
from synhead.app.web.schemas import TemplateFact
from synhead.config import ConfigError
from synhead.data.container import open_media
from synhead.data.video import VIDEO_SUFFIXES, probe
from synhead.inference.fingerprint import ModelFingerprint
from synhead.inference.template_file import TEMPLATE_SUFFIXES, is_template, read_template


@dataclass(frozen=True, slots=True)
class Offer:
    """A file of the server's own by its whole path, and what is told of it."""

    path: Path
    fact: TemplateFact


def gather(folder: Path, model: ModelFingerprint, limits: Limits) -> tuple[Mapping[str, Offer], tuple[str, ...]]:
    """What can drive, by name (a file's without its suffix), and a line for each file that cannot.

    Lengths and pictures are limited as those of what is sent. Raises ConfigError where there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; give --templates a folder of motion templates or clips")
    offers: dict[str, Offer] = {}
    left_out: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (*TEMPLATE_SUFFIXES, *VIDEO_SUFFIXES) or path.stem in offers:
            continue
        try:
            if not path.stem.isprintable():
                raise ConfigError(f"the name {path.name!a} cannot be shown; rename the file")
            offers[path.stem] = Offer(path.absolute(), _fact(path, model, limits))
        except RefusedError as error:
            left_out.append(f"{path.name}: {error}; uploads' limits, as --max-seconds, hold here too")
        except ValueError as error:
            left_out.append(explain(error) or str(error))
    return offers, tuple(left_out)


def _fact(path: Path, model: ModelFingerprint, limits: Limits) -> TemplateFact:
    if is_template(path):
        template = read_template(path)
        template.check_model(model, name=path.name)
        seconds = template.times[-1] + template.durations[-1] - template.times[0]
        check_length(len(template), seconds, limits)
        return TemplateFact(name=path.stem, kind="template", frames=len(template), seconds=round(float(seconds), 2))
    info = probe(path)
    with open_media(path) as container:
        check_video(container, limits)
    return TemplateFact(name=path.stem, kind="video", frames=info.frames, seconds=info.duration_s)
