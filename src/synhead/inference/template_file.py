"""Motion templates as files: safetensors with a JSON header. Nothing in one can execute code.

Tensors: ``position`` (frames k 2) and ``jacobian`` (frames k 2 2) in float32, ``times`` and ``durations`` (frames 2)
in int64: numerators and denominators of seconds. The metadata entry ``synhead.motion`` is a :class:`Header`.

A file has the lowest version that can hold it, so that older readers keep up as long as they can. Version 1 is the
above. Version 2 adds the clip's faces: ``face_points`` (frames 468 2) in int16 and ``face_measures`` (frames 5) in
float64, see RecordedFaces; its header is a :class:`HeaderWithFaces`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from synhead.config import ConfigError, from_json, to_json
from synhead.config.version import version
from synhead.data.files import check_input, check_output, replacing
from synhead.inference.face_shape import POINTS
from synhead.inference.fingerprint import tensor_bytes
from synhead.inference.recorded_faces import MEASURES, RecordedFaces
from synhead.inference.template import MAX_FRAMES, MAX_KEYPOINTS, MotionTemplate, TemplateError, TemplateOrigin
from synhead.types import Keypoints

TEMPLATE_SUFFIXES = (".safetensors",)
MOTION_VERSION, FORMAT_VERSION = 1, 2
HEADER = "synhead.motion"
DTYPES = {"position": "F32", "jacobian": "F32", "times": "I64", "durations": "I64"}
FACE_DTYPES = {"face_points": "I16", "face_measures": "F64"}
MAX_INTEGER = 2**63 - 1
MAX_RATE_PART = 2**31 - 1
"""Of numerator and denominator, as FFmpeg has them."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the JSON says. ``content``: SHA-256 of all the rest. Rates and time bases are fractions, as 30000/1001."""

    version: int
    synhead: str
    origin: TemplateOrigin
    rate: str
    time_base: str
    reference: int | None = None
    content: str = ""


@dataclass(frozen=True, kw_only=True)
class FacesOrigin:
    """See RecordedFaces."""

    analyzer: str
    announced: int | None = None


@dataclass(frozen=True, kw_only=True)
class HeaderWithFaces(Header):
    """Of version 2."""

    faces: FacesOrigin


def write_template(path: Path, template: MotionTemplate, *, inputs: Sequence[Path] = ()) -> None:
    """Write atomically: a failure leaves an earlier file as it was. MediaError for a path that must not be written."""
    target = check_output(path, inputs=inputs, suffixes=TEMPLATE_SUFFIXES)
    tensors = {
        "position": template.keypoints.position.contiguous(),
        "jacobian": template.keypoints.jacobian.contiguous(),
        "times": _pairs(template.times),
        "durations": _pairs(template.durations),
    }
    header = Header(
        version=MOTION_VERSION,
        synhead=version(),
        origin=template.origin,
        rate=str(template.rate),
        time_base=str(template.time_base),
        reference=template.reference,
    )
    if template.faces is not None:
        faces = FacesOrigin(analyzer=template.faces.analyzer, announced=template.faces.announced)
        header = HeaderWithFaces(**{**vars(header), "version": FORMAT_VERSION}, faces=faces)
        tensors |= {"face_points": template.faces.points, "face_measures": template.faces.measures}
    header = replace(header, content=_content(header, tensors))
    with replacing(target) as temporary:
        temporary.write_bytes(save(tensors, metadata={HEADER: to_json(header)}))


def read_template(path: Path) -> MotionTemplate:
    """The template in a file, checked in every respect but whether it fits a model (``check_model``).

    Raises MediaError if the path leads to no readable file, TemplateError for all that is wrong inside.
    """
    check_input(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, (file.metadata() or {}).get(HEADER))
            dtypes = DTYPES | FACE_DTYPES if isinstance(header, HeaderWithFaces) else DTYPES
            _check_tensors(path, {name: file.get_slice(name) for name in file.keys()}, dtypes)  # noqa: SIM118 - no mapping
            tensors = {name: file.get_tensor(name) for name in dtypes}
    except SafetensorError as error:
        raise _damaged(path, f"no complete safetensors file: {error}") from error
    if _content(header, tensors) != header.content:
        raise _damaged(path, "its contents are not those that were written")
    try:
        return MotionTemplate(
            keypoints=Keypoints(position=tensors["position"], jacobian=tensors["jacobian"]),
            times=_fractions(tensors["times"]),
            durations=_fractions(tensors["durations"]),
            rate=_fraction(header.rate),
            time_base=_fraction(header.time_base),
            origin=header.origin,
            reference=header.reference,
            faces=_faces(header, tensors) if isinstance(header, HeaderWithFaces) else None,
        )
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from error
    except (ValueError, ZeroDivisionError) as error:
        raise _damaged(path, str(error)) from error


def is_template(path: Path) -> bool:
    """Whether a path names a template rather than a video, by its suffix."""
    return path.suffix.lower() in TEMPLATE_SUFFIXES


def _header(path: Path, text: str | None) -> Header:
    if text is None:
        raise TemplateError(f"{path} is no motion template; make one with: synhead record CLIP -o {path.name}")
    try:
        version = json.loads(text)["version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "its header is not readable") from error
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise TemplateError(
            f"{path} has template format {version}, this version reads up to {FORMAT_VERSION}; upgrade synhead"
        )
    if version not in (MOTION_VERSION, FORMAT_VERSION):
        raise _damaged(path, f"there is no template format {version}")
    try:
        return from_json(Header if version == MOTION_VERSION else HeaderWithFaces, text)
    except ConfigError as error:
        raise _damaged(path, str(error)) from error


def _faces(header: HeaderWithFaces, tensors: dict[str, Tensor]) -> RecordedFaces:
    return RecordedFaces(
        points=tensors["face_points"],
        measures=tensors["face_measures"],
        analyzer=header.faces.analyzer,
        announced=header.faces.announced,
    )


def _check_tensors(path: Path, found: dict[str, object], dtypes: dict[str, str]) -> None:
    """Names, types and sizes, before anything is read."""
    if found.keys() != dtypes.keys():
        raise _damaged(path, f"it has {', '.join(sorted(found)) or 'no tensors'}, not {', '.join(sorted(dtypes))}")
    shapes = {name: list(part.get_shape()) for name, part in found.items()}  # type: ignore[attr-defined]
    types = {name: part.get_dtype() for name, part in found.items()}  # type: ignore[attr-defined]
    frames, count = (shapes["position"] + [0, 0])[:2]
    wanted = {
        "position": [frames, count, 2],
        "jacobian": [frames, count, 2, 2],
        "times": [frames, 2],
        "durations": [frames, 2],
        "face_points": [frames, POINTS, 2],
        "face_measures": [frames, MEASURES],
    }
    if types != dtypes or shapes != {name: wanted[name] for name in dtypes}:
        raise _damaged(path, f"its tensors have unexpected types or shapes {shapes}")
    if not (0 < frames <= MAX_FRAMES and 0 < count <= MAX_KEYPOINTS):
        raise _damaged(path, f"{frames} frames of {count} keypoints are not possible")


def _pairs(values: Sequence[Fraction]) -> Tensor:
    if any(max(abs(value.numerator), value.denominator) > MAX_INTEGER for value in values):
        raise TemplateError("the clip's timestamps cannot be stored exactly; convert it to MP4 first")
    return torch.tensor([[value.numerator, value.denominator] for value in values], dtype=torch.int64)


def _fractions(pairs: Tensor) -> tuple[Fraction, ...]:
    return tuple(Fraction(numerator, denominator) for numerator, denominator in pairs.tolist())


def _fraction(text: str) -> Fraction:
    """``30000/1001`` or ``25``. Fraction itself would also take 1e999999999, and compute it."""
    numerator, _, denominator = text.partition("/")
    found = Fraction(int(numerator), int(denominator or 1))
    if max(found.numerator, found.denominator) > MAX_RATE_PART:
        raise ValueError("a rate or time base of too many digits")
    return found


def _content(header: Header, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(to_json(replace(header, content="")).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensor_bytes(tensors[name]))
    return digest.hexdigest()


def _damaged(path: Path, problem: str) -> TemplateError:
    return TemplateError(f"{path} is damaged or no motion template ({problem}); copy it again or record it again")
