"""A file of animations: one JSON object a line, checked as a whole before any work."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synhead.config import ConfigError, from_json, to_json
from synhead.faces.analyzer import FaceError
from synhead.inference.animator import AnimatorOptions
from synhead.inference.job import AnimationJob

NEEDED = ("source", "driving", "output")
MAX_FAULTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """One line of a jobs file.

    ``name``: what people call it. ``key``: its output as the file has it, which is what it is to the journal.
    ``digest``: of everything the line asks for; the same in another folder. ``job``: with paths that lead there from
    anywhere. ``animator``: how its motion is transferred.
    """

    name: str
    line: int
    key: str
    digest: str
    job: AnimationJob
    animator: AnimatorOptions


def read_jobs(path: Path, *, batch_size: int) -> tuple[BatchJob, ...]:
    """All jobs of a file; relative paths start at its folder. ``batch_size``: of lines that name none.

    Raises ConfigError that names the lines with unknown, missing or ill-typed fields, and lines that disturb others.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not text in UTF-8 ({error.reason}); write one JSON object a line") from error
    jobs: list[BatchJob] = []
    faults: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            jobs.append(_read_line(line, number, path.parent, batch_size))
        except (ConfigError, FaceError) as error:
            faults.append(f"line {number}: {error}")
    faults += _collisions(jobs)
    if faults:
        more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        raise ConfigError(f"{path}: nothing was done. " + "; ".join(faults[:MAX_FAULTS]) + more)
    if not jobs:
        raise ConfigError(f"{path} holds no jobs; write one JSON object a line with {', '.join(NEEDED)}")
    return tuple(jobs)


def _read_line(line: str, number: int, folder: Path, batch_size: int) -> BatchJob:
    data = _object(line)
    name, options = data.pop("name", None), data.pop("animator", {})
    missing = [field for field in NEEDED if field not in data]
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given")
    job = from_json(AnimationJob, json.dumps(data))
    animator = from_json(AnimatorOptions, json.dumps(options))
    digest = hashlib.sha256((to_json(job) + to_json(animator)).encode()).hexdigest()
    if "batch_size" not in options:
        animator = replace(animator, batch_size=batch_size)
    key = job.output.as_posix()
    return BatchJob(
        name=_name(key if name is None else name),
        line=number,
        key=key,
        digest=digest,
        job=located(job, folder),
        animator=animator,
    )


def _object(line: str) -> dict[str, Any]:
    try:
        data = json.loads(line, object_pairs_hook=_once)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"expected an object, got {type(data).__name__}")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a field that comes twice JSON takes the last, without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ConfigError(f"the field {twice} comes twice; leave one out")
    return found


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigError(f"name: expected words, got {name!r}")
    return name


def located(job: AnimationJob, folder: Path) -> AnimationJob:
    """The job with its relative paths starting at ``folder``."""
    options = job.options
    certificate = None if options.certificate is None else folder / options.certificate
    key = None if options.key is None else folder / options.key
    return replace(
        job,
        source=folder / job.source,
        driving=folder / job.driving,
        output=folder / job.output,
        options=replace(options, certificate=certificate, key=key),
    )


def _collisions(jobs: list[BatchJob]) -> Iterator[str]:
    """Lines that would overwrite or be taken for one another: then the order of work would change what comes out."""
    names: dict[str, int] = {}
    outputs: dict[Path, int] = {}
    for job in jobs:
        target = job.job.output.resolve()
        if target in outputs:
            yield f"line {job.line}: output {job.key} is that of line {outputs[target]} too; give each job its own"
        elif job.name in names:
            yield f"line {job.line}: name {job.name!r} is that of line {names[job.name]} too; give each job its own"
        outputs.setdefault(target, job.line)
        names.setdefault(job.name, job.line)
    for job in jobs:
        if (around := _around(job.job.output.resolve().parent, outputs)) is not None:
            yield f"line {job.line}: output {job.key} lies in that of line {around}; a folder of pictures holds no more"
        for given in (job.job.source, job.job.driving):
            if (maker := _around(given.resolve(), outputs)) is not None:
                yield f"line {job.line}: input {given} is the output of line {maker}; make it in an earlier batch"


def _around(path: Path, outputs: dict[Path, int]) -> int | None:
    """The line whose output it is, or lies in."""
    return next((outputs[place] for place in (path, *path.parents) if place in outputs), None)
