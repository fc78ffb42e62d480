"""Live mode, end to end in a browser: frames/s, latency, and the time of each stage.

    python benchmarks/live.py --preset lite --precision fp32 bf16 --camera 320x240 640x480
    python benchmarks/live.py --preset lite --precision bf16 --in-flight 1 2 3

Starts ``synhead live --serve`` and a headless Chromium (Playwright) whose camera shows scikit-image's portrait of an
astronaut moving about. Times are medians. The stages: ``page`` is the browser's camera picture scaled and made a JPEG,
``travel`` both ways with all waiting outside the server, ``wait`` in the server before its thread is free; then
decoding, finding the face, keypoints, drawing, encoding; ``show`` decodes and paints. Latency is their sum, from the
camera picture taken to the portrait painted; the camera's own time and the screen's are not in it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 25
SERVER_STAGES = ("wait", "decode", "faces", "turn", "keypoints", "draw", "encode")


@dataclass(frozen=True, kw_only=True)
class Result:
    """One case. ``stages_ms``: medians. ``dropped``: by the server; ``skipped``: camera pictures not sent."""

    preset: str
    precision: str
    camera: str
    in_flight: int
    fps: float
    latency_median_ms: float
    latency_p95_ms: float
    shown: int
    dropped: int
    skipped: int
    stages_ms: dict[str, float]


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="lite", help="untrained weights")
    parser.add_argument("--checkpoint", help="instead of --preset")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", nargs="+", default=["bf16"], choices=("fp32", "bf16"))
    parser.add_argument("--engine", default="auto", help="see synhead info")
    parser.add_argument("--camera", nargs="+", default=["640x480"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--in-flight", type=int, nargs="+", default=[2], help="frames that the page has on their way")
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured")
    parser.add_argument("--warmup", type=float, default=5.0, help="seconds before that")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures of the page")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(argv)


def write_camera(path: Path, size: tuple[int, int]) -> Path:
    """Four seconds of the portrait moving about, uncompressed as most cameras send it."""
    from skimage.data import astronaut  # noqa: PLC0415  (an extra)

    photograph = Image.fromarray(astronaut())
    with av.open(str(path), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("wrapped_avframe", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for turn in np.linspace(0, 2 * np.pi, 4 * RATE, endpoint=False):
            left, top = 50 + 25 * np.sin(2 * turn), 12 + 12 * np.sin(4 * turn)
            picture = photograph.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + 360, top + 270))
            frame = av.VideoFrame.from_image(picture).reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@contextmanager
def server(options: argparse.Namespace, precision: str) -> Iterator[str]:
    """``synhead live --serve``; its address. Ends the benchmark if it does not start; why is on its standard error."""
    model = ["--checkpoint", options.checkpoint] if options.checkpoint else ["--preset", options.preset]
    given = ["live", "--serve", "--port", "0", *model, "--device", options.device, "--precision", precision]
    given += ["--engine", options.engine]
    command = [sys.executable, "-c", f"from synhead.app.cli import main; main({given!r})"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            address = running.stdout.readline().strip()
            if not address:
                sys.exit(f"the server did not start, see above (exit {running.wait()}): synhead {' '.join(given)}")
            yield address
        finally:
            running.terminate()


def measure(options: argparse.Namespace, precision: str, camera: str, in_flight: int) -> Result:
    """One session of a fresh server and a fresh browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (for this only)
    from skimage.data import astronaut  # noqa: PLC0415

    width, height = map(int, camera.split("x"))
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with (
        tempfile.TemporaryDirectory() as folder,
        server(options, precision) as address,
        sync_playwright() as playwright,
    ):
        video = write_camera(Path(folder) / "camera.y4m", (width, height))
        Image.fromarray(astronaut()).save(portrait := Path(folder) / "portrait.png")
        switches = ["no-sandbox", "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"]
        switches += [f"use-file-for-fake-video-capture={video}", "no-first-run", "disable-background-networking"]
        switches += ["disable-component-update", "disable-sync"]
        opened = playwright.chromium.launch(executable_path=browser, args=[f"--{switch}" for switch in switches])
        page = opened.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.route("**/live.js", lambda route: route.fulfill(response=route.fetch(), body=_with(route, in_flight)))
        page.goto(address)
        if options.screenshots:
            page.screenshot(path=options.screenshots / "setup.png")
        page.set_input_files("#portrait", portrait)
        page.check("#consent")
        page.click("#start")
        page.wait_for_selector("#stage:not([hidden])", timeout=120_000)
        time.sleep(options.warmup)
        before, begun, samples = _counts(page), time.monotonic(), []
        while time.monotonic() - begun < options.seconds:
            time.sleep(1)
            samples += page.evaluate("state.live.replies.map((r) => ({...r, encodeMs: state.live.encodeMs}))")
        passed, after = time.monotonic() - begun, _counts(page)
        if options.screenshots:
            page.screenshot(path=options.screenshots / "live.png")
        opened.close()
    found = list({sample["at"]: sample for sample in samples}.values())
    shown = after["shown"] - before["shown"]
    latencies = [sample["latency"] for sample in found]
    return Result(
        preset=options.checkpoint or options.preset,
        precision=precision,
        camera=camera,
        in_flight=in_flight,
        fps=shown / passed,
        latency_median_ms=median(latencies),
        latency_p95_ms=float(np.percentile(latencies, 95)),
        shown=shown,
        dropped=after["dropped"] - before["dropped"],
        skipped=after["camera"] - before["camera"] - (after["sent"] - before["sent"]),
        stages_ms=stages(found),
    )


def stages(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians over replies, in the order of a frame's way."""
    rows = []
    for sample in samples:
        inside = {name: sample["serverMs"][name] for name in SERVER_STAGES}
        outside = sample["latency"] - sample["encodeMs"] - sum(inside.values()) - sample["showMs"]
        rows.append({"page": sample["encodeMs"], "travel": outside, **inside, "show": sample["showMs"]})
    return {name: median(row[name] for row in rows) for name in rows[0]}


def _with(route: Any, in_flight: int) -> str:  # noqa: ANN401  (Playwright's)
    text: str = route.fetch().text()
    return text.replace("const IN_FLIGHT = 2;", f"const IN_FLIGHT = {in_flight};")


def _counts(page: Any) -> dict[str, int]:  # noqa: ANN401  (Playwright's)
    found: dict[str, int] = page.evaluate(
        "(({ shown, dropped, camera, sent }) => ({ shown, dropped, camera, sent }))(state.live)"
    )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure all cases, print the table."""
    options = parse_arguments(argv)
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    results = []
    for case in itertools.product(options.precision, options.camera, options.in_flight):
        result = measure(options, *case)
        results.append(result)
        print(
            f"{result.preset} {result.precision}, camera {result.camera}, {result.in_flight} in flight: "
            f"{result.fps:.1f} frames/s, latency {result.latency_median_ms:.0f} ms (95 %: "
            f"{result.latency_p95_ms:.0f}), {result.shown} shown, {result.dropped} dropped, {result.skipped} skipped"
        )
        print("  " + "  ".join(f"{name} {value:.1f}" for name, value in result.stages_ms.items()), flush=True)
    if options.json:
        threads = os.environ.get("OMP_NUM_THREADS", "default")
        report = {"threads": threads, "load": os.getloadavg(), "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
