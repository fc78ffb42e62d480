"""The face landmarker's model file: where it is looked for, and how it is fetched if the user asks for it.

Nothing is ever downloaded but by :func:`fetch_task_file`, which only a command of the user's calls.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from synhead.faces.analyzer import FaceError
from synhead.weights.errors import CheckpointError
from synhead.weights.hub import verify_sha256

WEIGHTS_VARIABLE = "SYNHEAD_WEIGHTS"
CACHE_VARIABLE = "SYNHEAD_CACHE"
TASK_FILES = ("face_landmarker.task", "face_landmarker_v2.task", "face_landmarker_v2_with_blendshapes.task")
TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class TaskFile:
    """A published model file (Apache-2.0): its name, the SHA-256 it must have, and its publisher's address."""

    name: str
    sha256: str
    address: str


LANDMARKER = TaskFile(
    name="face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    address="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
)


def cache_folder() -> Path:
    """Where fetched files are kept: SYNHEAD_CACHE, else the folder that the system has for caches."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "synhead"


def find_task_file() -> Path | None:
    """The face landmarker in the folder (or the file itself) named by SYNHEAD_WEIGHTS, else one fetched earlier.

    Raises FaceError if the variable names nothing that exists.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    if named:
        place = Path(named)
        if not place.exists():
            raise FaceError(f"{WEIGHTS_VARIABLE} names {named}, which does not exist; correct or unset it")
        found = [place] if place.suffix == ".task" else [place / name for name in TASK_FILES]
        return next((path for path in found if path.is_file()), None)
    fetched = cache_folder() / LANDMARKER.name
    return fetched if fetched.is_file() else None


def fetch_task_file(wanted: TaskFile = LANDMARKER) -> Path:
    """The model file in the cache folder, downloaded if it is not there; call it only if the user has agreed.

    It gets its name only once its hash is right. Raises FaceError that says which file, which hash and where to put it.
    """
    target = cache_folder() / wanted.name
    if not target.is_file():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                partial = Path(folder) / wanted.name
                _download(wanted.address, partial)
                verify_sha256(partial, wanted.sha256)
                partial.replace(target)
        except (OSError, CheckpointError) as error:
            reason = getattr(error, "reason", None) or error
            raise FaceError(
                f"{wanted.name} could not be fetched ({reason}); download it from {wanted.address}, check that its "
                f"SHA-256 is {wanted.sha256}, and put it at {target} or into a folder named by {WEIGHTS_VARIABLE}"
            ) from error
    return target


def _download(address: str, target: Path) -> None:
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file)
