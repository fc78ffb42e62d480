"""Kill a batch half way, and see whether every job was done exactly once and every output is whole.

    python benchmarks/batch.py --jobs 200                        # all three ways, a table at the end
    python benchmarks/batch.py --jobs 200 --kill worker --frames 8 --folder OUT

``worker``: one of two workers of a Ray cluster of this machine gets SIGKILL. ``ray queue``: the process that holds the
queue of such a cluster gets it, ``queue``: that of a run without Ray; the same command is then given again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from synhead.data.image import write_image
from synhead.data.video import VideoWriter, read_frames

KILLS = ("worker", "ray queue", "queue")
SIZE = (64, 72)
MIDDLE = {"crop": "center"}
KINDS = ("mp4", "mp4", "webm", "gif")
PROGRAM = "from synhead.app.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class Found:
    """``done``: jobs. ``made``: outputs that were complete once, of all attempts. ``whole``: outputs whose every frame
    can be read and whose bytes are those that the journal has. ``left``: files that nobody asked for.
    """

    jobs: int
    code: int
    done: int
    made: int
    twice: int
    lost: int
    whole: int
    left: int
    seconds: float

    @property
    def good(self) -> bool:
        """All of them once, and nothing else."""
        once = (self.code, self.done, self.made, self.whole) == (0, self.jobs, self.jobs, self.jobs)
        return once and not self.twice and not self.left


def write_jobs(folder: Path, jobs: int, frames: int) -> Path:
    """A portrait and a driver of noise, and that many jobs of several kinds."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, SIZE[1], SIZE[0], 3), dtype=np.uint8)
    folder.mkdir(parents=True)
    write_image(folder / "portrait.jpg", noise[0])
    with VideoWriter(folder / "driving.mp4", rate=Fraction(25), size=SIZE) as writer:
        for frame in noise:
            writer.write(frame)
    needed = {"source": "portrait.jpg", "driving": "driving.mp4", "framing": MIDDLE, "driving_framing": MIDDLE}
    path = folder / "jobs.jsonl"
    lines = [json.dumps({**needed, "output": f"{i:04d}.{KINDS[i % len(KINDS)]}"}) for i in range(jobs)]
    path.write_text("\n".join(lines))
    return path


def records(path: Path) -> list[dict[str, object]]:
    """The journal's whole lines."""
    journal = path.with_name(f"{path.name}.journal")
    content = journal.read_text() if journal.exists() else ""
    return [json.loads(line) for line in content.split("\n")[:-1]]


def start(path: Path, *, on_ray: bool) -> subprocess.Popen[str]:
    """The program, on that file."""
    given = ["batch", str(path), "--preset", "tiny", "--device", "cpu"]
    given += ["--on", "ray", "--workers", "2"] if on_ray else []
    log = path.with_name("told.txt").open("a")
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *given], stdout=log, stderr=log, text=True)


def wait_until_half(path: Path, process: subprocess.Popen[str], half: int) -> dict[str, object]:
    """The attempt that was begun last when half of the jobs are done."""
    while process.poll() is None:
        found = records(path)
        if sum(record["event"] == "done" for record in found) >= half and found[-1]["event"] == "started":
            return found[-1]
        time.sleep(0.02)
    raise SystemExit(f"the batch ended before half of it was done; see {path.with_name('told.txt')}")


def run(path: Path, jobs: int, kill: str) -> tuple[int, float]:
    """Begin, kill, and if it was the queue begin again; exit code of the last, and all seconds."""
    begun = time.perf_counter()
    process = start(path, on_ray=kill != "queue")
    try:
        last = wait_until_half(path, process, jobs // 2)
        if kill == "worker":
            worker = re.search(r"process (\d+)", str(last["worker"]))
            assert worker is not None
            os.kill(int(worker[1]), signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process = start(path, on_ray=kill != "queue")
        return process.wait(), time.perf_counter() - begun
    finally:
        process.kill()
        process.wait()


def look(path: Path, frames: int, code: int, seconds: float) -> Found:
    """Decode all outputs, count the journal's lines and whatever else is in the folder."""
    outputs = [json.loads(line)["output"] for line in path.read_text().split("\n")]
    found = records(path)
    made = Counter(str(record["key"]) for record in found if record["event"] == "made")
    done = {str(record["key"]): record["sha256"] for record in found if record["event"] == "done"}
    ours = {"portrait.jpg", "driving.mp4", path.name, f"{path.name}.journal", "told.txt", *outputs}
    return Found(
        jobs=len(outputs),
        code=code,
        done=len(done),
        made=made.total(),
        twice=sum(record["event"] == "done" for record in found) - len(done),
        lost=sum(record["event"] == "lost" for record in found),
        whole=sum(whole(path.with_name(name), frames, done.get(name)) for name in outputs),
        left=len({file.name for file in path.parent.iterdir()} - ours),
        seconds=seconds,
    )


def whole(output: Path, frames: int, sha256: object) -> bool:
    """Whether every frame is there and the bytes are those of the journal."""
    if not output.exists() or hashlib.sha256(output.read_bytes()).hexdigest() != sha256:
        return False
    return len(list(read_frames(output))) == frames


def main(arguments: list[str] | None = None) -> int:
    """0 if every job of every way was done exactly once and nothing else is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--kill", nargs="+", default=KILLS, choices=KILLS)
    parser.add_argument("--folder", type=Path, help="Keep what was made in here; it must not hold it yet.")
    options = parser.parse_args(arguments)
    good = True
    with tempfile.TemporaryDirectory() as passing:
        print(
            "| killed | jobs | exit code | done | attempts that ended | done twice | workers lost | whole | left | s |"
        )
        print("|---|" + "---:|" * 9)
        for kill in options.kill:
            path = write_jobs((options.folder or Path(passing)) / kill.replace(" ", "-"), options.jobs, options.frames)
            code, seconds = run(path, options.jobs, kill)
            found = look(path, options.frames, code, seconds)
            good = good and found.good and (found.lost == 1 or kill != "worker")
            cells = [found.jobs, found.code, found.done, found.made, found.twice, found.lost, found.whole, found.left]
            print(f"| {kill} | {' | '.join(map(str, cells))} | {found.seconds:.0f} |", flush=True)
    print("good" if good else "NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
