"""Weights of the networks that judge: which file each needs, where it is looked for, and its SHA-256."""

from __future__ import annotations

import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from synhead.data.errors import MediaError
from synhead.data.files import replacing
from synhead.weights.hub import file_sha256
from synhead.weights.vgg16 import (
    INSTALL,
    PACKAGED_FILE,
    PACKAGED_IN,
    PACKAGED_SHA256,
    VGG16_FILE,
    VGG16_URL,
    packaged_file,
)

WEIGHTS_VARIABLE = "SYNHEAD_WEIGHTS"


class UnavailableError(RuntimeError):
    """A metric cannot be measured here; the message is one line and names the file or package that is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """One published file. ``sha256``: of its content, empty where no publisher states one and it is only recorded.

    ``url``: where it can be downloaded from by itself, empty if it cannot. ``wheels``: packages that bring it, as
    (package, path inside it). ``instead``: another file that serves where this one is not found.
    """

    name: str
    source: str
    sha256: str = ""
    url: str = ""
    wheels: tuple[tuple[str, str], ...] = ()
    instead: WeightFile | None = None


VGG16_PACKAGED = WeightFile(
    name=PACKAGED_FILE,
    source=f"ported from it: {INSTALL}",
    sha256=PACKAGED_SHA256,
    wheels=(PACKAGED_IN,),
)
VGG16 = WeightFile(
    name=VGG16_FILE,
    source="torchvision, VGG16 IMAGENET1K_V1",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    url=VGG16_URL,
    instead=VGG16_PACKAGED,
)
LPIPS_HEADS = WeightFile(
    name="lpips-v0.1-vgg.pth",
    source="packages torchmetrics and lpips, weights/v0.1/vgg.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    wheels=(("torchmetrics", "functional/image/lpips_models/vgg.pth"), ("lpips", "weights/v0.1/vgg.pth")),
)
INCEPTION = WeightFile(
    name="pt_inception-2015-12-05-6726825d.pth",
    source="pytorch-fid, release fid_weights (torch-fidelity publishes the same bytes)",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
)
FAN = WeightFile(
    name="2DFAN4-11f355bf06.pth.tar",
    source="face-alignment, 2D FAN of four stacks",
    sha256="11f355bf0693120222f5955ce3f9dc8fb5763ebb30a47d7906e509490d32e4aa",
    url="https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
)
S3FD = WeightFile(
    name="s3fd-619a316812.pth",
    source="face-alignment, S3FD face detector",
    sha256="619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
    url="https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
)
OPENFACE = WeightFile(name="openface.pth", source="repository thnkim/OpenFacePytorch (OpenFace nn4.small2.v1)")
SCRFD = WeightFile(
    name="scrfd_10g_bnkps.onnx",
    source="insightface, model pack antelopev2 (non-commercial)",
    sha256="5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
)
GLINTR100 = WeightFile(
    name="glintr100.onnx",
    source="insightface, model pack antelopev2 (non-commercial)",
    sha256="4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf",
)
FACE_TASK = WeightFile(
    name="face_landmarker.task",
    source="MediaPipe models, face_landmarker/float16/1 (version 2 with blendshapes)",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
)


class WeightFolder:
    """Where weight files are found: ``folder``, else $SYNHEAD_WEIGHTS, else an installed package that brings them.

    With ``download``, a file that is missing and has an address and a hash is fetched into the folder, which is the
    user's consent. ``used`` lists, by name, the SHA-256 of every file handed out.
    """

    def __init__(self, folder: Path | None = None, *, download: bool = False) -> None:
        named = os.environ.get(WEIGHTS_VARIABLE)
        self.folder = folder or (Path(named) if named and Path(named).is_dir() else None)
        self.used: dict[str, str] = {}
        self._may_download = download
        if download and self.folder is None:
            raise MediaError("downloaded weights need a folder: give --weights-dir or set " + WEIGHTS_VARIABLE)

    def require(self, files: Iterable[WeightFile]) -> tuple[Path, ...]:
        """Paths of the files, their content checked. Raises UnavailableError naming all that are missing or wrong."""
        located = [self._locate(file) for file in files]
        if missing := [file for file, path in located if path is None]:
            raise UnavailableError("needs " + " and ".join(_described(file) for file in missing))
        found = [(file, path) for file, path in located if path is not None]
        for file, path in found:
            self.used[file.name] = _checked(file, path)
        return tuple(path for _, path in found)

    def _locate(self, file: WeightFile) -> tuple[WeightFile, Path | None]:
        """The file, or what serves instead of it, where it lies here; else downloaded."""
        for each in filter(None, (file, file.instead)):
            if (path := self._find(each)) is not None:
                return each, path
        return file, self._download(file)

    def _find(self, file: WeightFile) -> Path | None:
        if self.folder is not None and (self.folder / file.name).is_file():
            return self.folder / file.name
        return next(filter(None, (packaged_file(*place) for place in file.wheels)), None)

    def _download(self, file: WeightFile) -> Path | None:
        if self._may_download and self.folder is not None and file.url and file.sha256:
            return _fetch(file, self.folder)
        return None


def read_state(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a PyTorch file, read without running code it may contain. Raises UnavailableError."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise UnavailableError(f"{path} cannot be read as weights ({reason}): download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UnavailableError(f"{path} is not a dictionary of tensors: download it again")
    return state


def _checked(file: WeightFile, path: Path) -> str:
    found = file_sha256(path)
    if file.sha256 and found != file.sha256:
        raise UnavailableError(f"{path} has SHA-256 {found} instead of {file.sha256}: download it again")
    return found


def _fetch(file: WeightFile, folder: Path) -> Path:
    target = folder / file.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(target) as temporary:
            with urllib.request.urlopen(file.url) as answer, temporary.open("wb") as out:  # a constant of this module
                while block := answer.read(1 << 20):
                    out.write(block)
            _checked(file, temporary)
    except (urllib.error.URLError, OSError) as error:
        raise UnavailableError(
            f"{file.url} could not be downloaded ({error}): put {file.name} into {folder}"
        ) from error
    return target


def _described(file: WeightFile) -> str:
    known = f"SHA-256 {file.sha256}" if file.sha256 else "no SHA-256 published"
    told = f"{file.name} ({file.source}; {known})"
    return told if file.instead is None else f"{told} or {_described(file.instead)}"
