"""Does a server stay well under load? Clients at once for some minutes against a running ``synhead web``.

    synhead web --preset tiny --port 8766 &
    python benchmarks/web.py http://127.0.0.1:8766 --clients 8 --minutes 5 --process $!

Each client sends a portrait and a clip, of noise, watches the job to its end and fetches the result; every fifth job is
cancelled on the way, every third ended one is deleted, and an upload is refused (503) while the queue is full. Prints
the server's resident memory (``--process``: its id, on this machine) while it runs. At the end every job must have
ended, as it was meant to, with as many frames as the clip, and none may have been given out twice. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from synhead.data.image import encode_image
from synhead.data.video import VideoWriter, probe

BOUNDARY = "benchmark"
OPTIONS = {"crop": "center", "driving_crop": "center", "side_by_side": True}
POLL_S = 0.05
CANCELLED_EVERY, DELETED_EVERY = 5, 3
ENDED = ("done", "failed", "cancelled")
MEBIBYTE = 1 << 20


@dataclass
class Tally:
    """What all clients saw; under one lock."""

    jobs: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """One connection at a time to the server's API."""

    def __init__(self, address: str, form: bytes, frames: int, tally: Tally) -> None:
        self._server = urlsplit(address)
        self._form, self._frames, self._tally = form, frames, tally

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """(status, content) of a request."""
        connection = http.client.HTTPConnection(self._server.hostname or "", self._server.port, timeout=120)
        try:
            kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} if body else {}
            connection.request(method, f"/api/v1/{path}", body, kind)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def run(self, number: int, until: float) -> None:
        """Jobs one after another until the time is over."""
        turn = number
        while time.monotonic() < until:
            turn += 1
            try:
                self._job(turn)
            except Exception as error:  # told at the end, with all others
                with self._tally.lock:
                    self._tally.faults.append(f"client {number}: {type(error).__name__}: {error}")

    def _job(self, turn: int) -> None:
        start = time.monotonic()
        status, content = self.ask("POST", "jobs", self._form)
        if status == 503:
            with self._tally.lock:
                self._tally.refused += 1
            time.sleep(10 * POLL_S)  # sooner than Retry-After asks for: this is to be load
            return
        if status != 202:
            raise RuntimeError(f"the job was answered with {status}: {content[:200]!r}")
        name = json.loads(content)["id"]
        cancelled = turn % CANCELLED_EVERY == 0
        if cancelled:
            self.ask("POST", f"jobs/{name}/cancel")
        job = self._end_of(name)
        with self._tally.lock:
            self._tally.jobs[name] += 1
            self._tally.states[job["state"]] += 1
            self._tally.seconds.append(time.monotonic() - start)
        if not cancelled:
            self._check(name, job)
        if turn % DELETED_EVERY == 0:
            self._expect(self.ask("DELETE", f"jobs/{name}")[0] == 204, f"{name} could not be deleted")

    def _end_of(self, name: str) -> dict[str, object]:
        while True:
            status, content = self.ask("GET", f"jobs/{name}")
            if status != 200:
                raise RuntimeError(f"job {name} is lost: {status} {content[:200]!r}")
            job: dict[str, object] = json.loads(content)
            if job["state"] in ENDED:
                return job
            time.sleep(POLL_S)

    def _check(self, name: str, job: dict[str, object]) -> None:
        self._expect(job["state"] == "done", f"{name} ended as {job['state']}: {job['error']}")
        self._expect(job["frames_done"] == self._frames, f"{name} has {job['frames_done']} frames")
        for which in ("result", "side-by-side"):
            status, content = self.ask("GET", f"jobs/{name}/{which}")
            self._expect(status == 200 and content[4:8] == b"ftyp", f"{which} of {name}: {status}, no MP4")

    def _expect(self, holds: bool, fault: str) -> None:  # noqa: FBT001 - an assertion
        if not holds:
            with self._tally.lock:
                self._tally.faults.append(fault)


def make_form(frames: int, side: int) -> bytes:
    """A job as a form, with files of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip, rate=Fraction(25), size=(side, side)) as writer:
            for image in noise:
                writer.write(image)
        assert probe(clip).frames == frames
        driving = clip.read_bytes()
    fields = {"portrait": encode_image(noise[0], ".png"), "driving": driving, "options": json.dumps(OPTIONS).encode()}
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
        % (BOUNDARY.encode(), name.encode(), name.encode(), content)
        for name, content in fields.items()
    ]
    return b"".join(parts) + b"--%s--\r\n" % BOUNDARY.encode()


def memory_mb(process: int | None) -> float | None:
    """Resident memory of a process; None where the system does not tell."""
    path = Path(f"/proc/{process}/statm")
    if process is None or not path.exists():
        return None
    return int(path.read_text(encoding="ascii").split()[1]) * 4096 / MEBIBYTE


def main(arguments: list[str] | None = None) -> int:
    """Run the clients; 0 if all went as it should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--process", type=int, help="id of the server's process, to print its memory")
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines")
    given = parser.parse_args(arguments)
    tally, form = Tally(), make_form(given.frames, given.size)
    start = time.monotonic()
    until = start + 60 * given.minutes
    clients = [Client(given.address, form, given.frames, tally) for _ in range(given.clients)]
    threads = [threading.Thread(target=client.run, args=(i, until)) for i, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(given.every / len(threads))
        memory = memory_mb(given.process)
        told = "" if memory is None else f", server {memory:.0f} MiB"
        print(
            f"{time.monotonic() - start:6.0f} s: {sum(tally.jobs.values())} jobs, {tally.refused} refused{told}",
            flush=True,
        )
    return conclude(tally, clients[0], time.monotonic() - start)


def conclude(tally: Tally, client: Client, seconds: float) -> int:
    """Print what became of all jobs."""
    twice = [name for name, count in tally.jobs.items() if count > 1]
    tally.faults += [f"id {name} was given out twice" for name in twice]
    health = json.loads(client.ask("GET", "health")[1])
    if health["waiting"] or health["running"]:
        tally.faults.append(f"jobs were left over: {health}")
    median = statistics.median(tally.seconds) if tally.seconds else float("nan")
    ended = ", ".join(f"{count} {state}" for state, count in sorted(tally.states.items()))
    print(f"{len(tally.jobs)} jobs in {seconds:.0f} s: {ended}; {tally.refused} uploads refused (503)")
    print(f"seconds from upload to end: median {median:.2f}, longest {max(tally.seconds, default=0):.2f}")
    for fault in tally.faults[:20]:
        print(f"FAULT {fault}")
    print(f"{len(tally.faults)} faults")
    return 1 if tally.faults or not tally.jobs else 0


if __name__ == "__main__":
    sys.exit(main())
