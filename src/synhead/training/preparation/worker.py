"""One input from beginning to end, in a worker process."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from synhead.data.errors import MediaError, OutputError
from synhead.data.files import check_input, replacing
from synhead.data.records import identity
from synhead.faces.analyzer import FaceDetector
from synhead.faces.mediapipe_backend import open_detector
from synhead.training.preparation.cut import CutClip, cut_clips
from synhead.training.preparation.options import PrepareOptions, Rejected
from synhead.training.preparation.records import ClipRecord, InputRecord
from synhead.training.preparation.scan import ClipPlan, scan_video

CLIP_FOLDER, STRIP_FOLDER = "clips", "strips"

_CHUNK = 1 << 20


def prepare_input(
    source: Path,
    output: Path,
    options: PrepareOptions,
    *,
    opener: Callable[[], FaceDetector] = open_detector,
) -> InputRecord:
    """Cut all clips of ``source`` into ``output``. An unreadable source gives a record that says so.

    Raises FaceError where faces cannot be detected at all, OutputError where clips cannot be written.
    """
    digest, clips = "", []
    rejected: list[Rejected] = []
    status = source.stat() if source.exists() else None  # before it is read: it may still be being copied
    try:
        digest = _sha256(check_input(source))
        with closing(opener()) as detector:
            version = detector.version
            scan = scan_video(source, detector, options)
        rejected += scan.rejected
        key = _key(source)
        targets = [output / CLIP_FOLDER / f"{key}_{plan.track}_{plan.part}.mp4" for plan in scan.plans]
        for clip in cut_clips(source, scan, targets, options):
            if clip.sharpness < options.min_sharpness:
                clip.path.unlink()
                reason = f"sharpness {clip.sharpness:.0f}, less than {options.min_sharpness:g}"
                rejected.append(Rejected(str(source), "blurred", reason, (clip.plan.begin_s, clip.plan.end_s)))
                continue
            with replacing(strip_path(output, clip.path.stem)) as temporary:
                temporary.write_bytes(clip.strip)
            clips.append(_record(clip, source, digest, version, options))
    except OutputError:
        raise  # says nothing of the source, which another call can take
    except MediaError as error:
        rejected.append(Rejected(str(source), "unreadable", str(error)))
    return InputRecord(
        source=str(source),
        source_bytes=status.st_size if status else 0,
        modified_ns=status.st_mtime_ns if status else 0,
        sha256=digest,
        place=str(source.resolve()),
        clips=tuple(clips),
        rejected=tuple(rejected),
    )


def strip_path(output: Path, clip: str) -> Path:
    """The small pictures of a clip, side by side."""
    return output / STRIP_FOLDER / f"{clip}.jpg"


def _record(clip: CutClip, source: Path, digest: str, detector: str, options: PrepareOptions) -> ClipRecord:
    plan: ClipPlan = clip.plan
    person = _person(source, digest, options)
    return ClipRecord(
        clip=clip.path.stem,
        path=f"{CLIP_FOLDER}/{clip.path.name}",
        split=_split(person, options.validation_share),
        person=person,
        kind="real",
        frames=clip.frames,
        fps=round(float(clip.rate), 4),
        source=str(source),
        source_sha256=digest,
        begin_s=round(plan.begin_s, 4),
        end_s=round(plan.end_s, 4),
        crop=(plan.crop.left, plan.crop.top, plan.crop.side),
        face_px=plan.face_px,
        sharpness=round(clip.sharpness, 1),
        detector=detector,
        track=plan.track,
        hashes=tuple(f"{value:016x}" for value in clip.hashes),
    )


def _key(source: Path) -> str:
    """A file name for clips of this source: readable, safe, and its own even if another source has the same name."""
    return f"{_readable(source)}-{hashlib.sha256(str(source).encode()).hexdigest()[:8]}"


def _person(source: Path, digest: str, options: PrepareOptions) -> str:
    """The same wherever the video lies and however its path is written, for the split hangs on it."""
    if options.person == "folder":
        return source.resolve().parent.name
    return identity(source.stem) if "#" in source.stem else f"{_readable(source)}-{digest[:8]}"


def _readable(source: Path) -> str:
    return re.sub(r"[^\w#.-]+", "-", source.stem)[:60]


def _split(person: str, validation_share: float) -> str:
    place = int(hashlib.sha256(person.encode()).hexdigest()[:8], 16) / 2**32
    return "val" if place < validation_share else "train"


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
