"""All inputs, in worker processes, resumable."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from pathlib import Path

from synhead.data.records import VIDEO_SUFFIXES
from synhead.faces.mediapipe_backend import open_detector
from synhead.training.preparation.contact_page import write_contact_page
from synhead.training.preparation.duplicates import Duplicates, delete_clip
from synhead.training.preparation.options import (
    PrepareError,
    PrepareOptions,
    PrepareProgress,
    PrepareReport,
    Rejected,
)
from synhead.training.preparation.records import InputRecord, Journal
from synhead.training.preparation.worker import CLIP_FOLDER, STRIP_FOLDER, prepare_input

Prepare = Callable[[Path], InputRecord]


def prepare_clips(
    inputs: Sequence[Path],
    output: Path,
    options: PrepareOptions | None = None,
    progress: Callable[[PrepareProgress], None] = lambda _: None,
) -> PrepareReport:
    """Face clips of all ``inputs`` (videos, or folders of them, searched through) in the folder ``output``.

    Writes ``clips/*.mp4``, ``index.jsonl`` (provenance, read by the data room), ``skipped.jsonl`` (what was left out
    and why) and ``contact_sheet.html``. A second call goes on where the first one stopped, and tries inputs again that
    were unreadable. ``progress`` is called after each input.

    Raises:
        PrepareError: no video among the inputs, ``output`` was prepared with other options, or from another video of
            the same relative name.
        FaceError: mediapipe or its model is missing.
        OutputError: a clip cannot be written, as on a full disk; what is finished is kept.
    """
    chosen, start = options or PrepareOptions(), time.perf_counter()
    sources = find_videos(inputs, without=output / CLIP_FOLDER)
    with closing(open_detector()):  # fails here, with a remedy, rather than in every worker
        pass
    journal = Journal(output, chosen)
    for folder in (CLIP_FOLDER, STRIP_FOLDER):
        (output / folder).mkdir(exist_ok=True)
        for leftover in (output / folder).glob(".*.partial*"):  # of a run that was killed
            leftover.unlink()
    todo = [source for source in sources if not (source.is_file() and journal.finished(source))]
    journal.refuse_namesakes(todo)
    duplicates = Duplicates(
        output, chosen.duplicate_bits, [r for r in journal.inputs if r.source not in set(map(str, todo))]
    )
    clips, rejected = 0, 0
    prepare = partial(prepare_input, output=output, options=chosen)
    with closing(_in_processes(prepare, todo, chosen.workers)) as records:
        for done, raw in enumerate(records, start=len(sources) - len(todo) + 1):
            record = duplicates.remove(raw)
            for gone in journal.add(record):
                delete_clip(output, gone)
            clips, rejected = clips + len(record.clips), rejected + len(record.rejected)
            progress(PrepareProgress(done, len(sources), clips, rejected, record.source))
    every = [clip for record in journal.inputs for clip in record.clips]
    write_contact_page(every, output)
    return PrepareReport(
        inputs=len(sources),
        resumed=len(sources) - len(todo),
        clips=len(every),
        held_out=sum(clip.split == "val" for clip in every),
        rejected=tuple(item for record in journal.inputs for item in record.rejected),
        seconds=time.perf_counter() - start,
    )


def find_videos(inputs: Sequence[Path], *, without: Path | None = None) -> list[Path]:
    """The videos named, and those in the folders named and below, each once and sorted. Raises PrepareError if none.

    A file that is named is taken whatever its suffix; in folders, suffixes decide, and what lies in the folder
    ``without`` is left out.
    """
    left_out = None if without is None else without.resolve()
    found: set[Path] = set()
    seen: set[Path] = set()
    for path in inputs:
        if path.is_dir():
            seen |= {p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()}
        elif path.exists():
            found.add(path)
        else:
            raise PrepareError(f"{path} does not exist; check the path")
    found |= {video for video in seen if left_out not in video.resolve().parents}
    if not found:
        places, others = ", ".join(map(str, inputs)) or "nothing", f" but clips made from others, in {without}"
        raise PrepareError(f"no video in {places}{others if seen else ''}; name videos or folders of them")
    return sorted(found)


def _in_processes(prepare: Prepare, sources: Sequence[Path], workers: int) -> Generator[InputRecord, None, None]:
    """Records in the order of ``sources``. An input that kills its worker is tried once more alone, then given up."""
    waiting = list(sources)
    while waiting:
        pool = _pool(min(workers, len(waiting)))
        futures = [pool.submit(prepare, source) for source in waiting]
        try:
            for future in futures:
                record = future.result()
                waiting.pop(0)
                yield record
        except BrokenProcessPool:
            # any of those in work may have done it: each of them alone
            suspects, waiting = waiting[: 2 * workers], waiting[2 * workers :]
            yield from (_alone(prepare, source) for source in suspects)
        finally:
            _end(pool)


def _alone(prepare: Prepare, source: Path) -> InputRecord:
    pool = _pool(1)
    try:
        return pool.submit(prepare, source).result()
    except BrokenProcessPool:
        status = source.stat()
        reason = "the worker process died on it (broken file, or too little memory); remove it or convert it to MP4"
        return InputRecord(
            source=str(source),
            source_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            sha256="",
            place=str(source.resolve()),
            rejected=(Rejected(str(source), "unreadable", reason),),
        )
    finally:
        _end(pool)


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawned, not forked: neither torch's threads nor mediapipe's survive a fork
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_heed_only_the_parent)


def _heed_only_the_parent() -> None:
    """Ctrl-C and a closed terminal reach all processes of a group; the parent decides, and ends a worker by SIGTERM.

    The worker leaves through its ``finally`` blocks, so that no half-written clip stays.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> None:
    raise SystemExit(1)


def _end(pool: ProcessPoolExecutor) -> None:
    """Nothing is running after a whole pass; after an error or Ctrl-C, what is running is given up."""
    for worker in list((pool._processes or {}).values()):
        worker.terminate()
    pool.shutdown(wait=True, cancel_futures=True)
