"""``synhead doctor``: what works on this machine, which device runs, and why it is slow."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import typer

from synhead.app.console import remarks, results, say
from synhead.app.models import CHECKPOINT_VARIABLE, find_checkpoint, untrained
from synhead.config.version import version

if TYPE_CHECKING:
    import torch

State = Literal["ok", "slow", "missing", "broken"]

CODECS = {
    "h264": ("h264", ("libx264",)),
    "hevc": ("hevc", ("libx265",)),
    "av1": ("libdav1d", ("libsvtav1", "libaom-av1")),
    "aac": ("aac", ("aac",)),
}
NEEDED_ENCODERS = ("h264", "aac")
TIMED_FRAMES = 16
FEW_CORES = 4

_STYLES: dict[State, str] = {"ok": "green", "slow": "yellow", "missing": "yellow", "broken": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report; ``remedy`` says what to do unless all is well."""

    topic: str
    fact: str
    state: State = "ok"
    remedy: str = ""


def doctor() -> None:
    """Check Python, devices, codecs and weights, and time the tiny model. Exit code 1 if something needed is broken."""
    findings: list[Finding] = []
    with remarks().status("examining"):
        for examine in (_software, _devices, _codecs, _faces, _weights, _timing):
            findings.extend(examine())
    _show(findings)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)


def _software() -> Iterator[Finding]:
    import torch  # heavy imports wait until a command runs

    yield Finding(topic="synhead", fact=version())
    yield Finding(topic="python", fact=f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    yield Finding(topic="torch", fact=f"{torch.__version__}, built for {build}")


def _devices() -> Iterator[Finding]:
    import torch

    from synhead.inference.animator import select_device, select_precision

    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(topic=f"cuda:{index}", fact=f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    yield Finding(topic="cpu", fact=f"{cores} cores, {threads} threads used by torch")
    chosen = select_device("auto")
    yield Finding(topic="runs on", fact=f"{chosen} in {select_precision('auto', chosen)} (--device auto)")
    if chosen.type == "cuda":
        yield _kernels()
    else:
        yield _engine()
        yield _why_no_gpu()
        if threads < cores:
            yield Finding(
                topic="threads",
                fact=f"torch uses {threads} of {cores} cores",
                state="slow",
                remedy=f"set OMP_NUM_THREADS={cores} or unset it",
            )
        elif cores < FEW_CORES:
            yield Finding(topic="cores", fact=f"only {cores}", state="slow", remedy="use a machine with more cores")


def _kernels() -> Finding:
    from synhead.geometry.triton_there import has_triton

    if has_triton():
        return Finding(topic="kernels", fact="Triton and a C compiler are there: bf16 draws by fused kernels")
    return Finding(
        topic="kernels",
        fact="Triton or a C compiler is missing: bf16 takes twice as long",
        state="slow",
        remedy="install gcc or clang (torch's GPU builds for Linux bring Triton)",
    )


def _engine() -> Finding:
    import torch

    from synhead.inference.engines import engine_for, native_measured, native_obstacle

    name = engine_for(torch.device("cpu"), "fp32")
    if name == "native" or not native_measured():
        return Finding(topic="engine", fact=f"{name} (--engine auto)")
    return Finding(
        topic="engine",
        fact=f"{name} (--engine auto): native, mostly faster, is not taken",
        state="slow",
        remedy=native_obstacle() or "",
    )


def _why_no_gpu() -> Finding:
    import torch

    if torch.version.cuda is None:
        return Finding(
            topic="gpu",
            fact="this torch is a CPU build: any GPU stands idle",
            state="slow",
            remedy="with an NVIDIA GPU, install a CUDA build of torch",
        )
    return Finding(
        topic="gpu",
        fact="torch is built for CUDA but sees no GPU",
        state="slow",
        remedy="check that nvidia-smi lists one, and CUDA_VISIBLE_DEVICES",
    )


def _codecs() -> Iterator[Finding]:
    for name, (decoder, encoders) in CODECS.items():
        decodes = _has_codec(decoder, "r") or _has_codec(name, "r")
        found = [encoder for encoder in encoders if _has_codec(encoder, "w")]
        fact = f"reads {'yes' if decodes else 'no'}, writes {', '.join(found) or 'no'}"
        if decodes and (found or name not in NEEDED_ENCODERS):
            yield Finding(topic=name, fact=fact)
        else:
            state: State = "broken" if name in NEEDED_ENCODERS else "missing"
            yield Finding(topic=name, fact=fact, state=state, remedy="reinstall PyAV from its wheel: pip install -U av")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av.codec

    try:
        av.codec.Codec(name, mode)
    except ValueError:  # av's UnknownCodecError is one
        return False
    return True


def _faces() -> Iterator[Finding]:
    if find_spec("mediapipe") is None:
        remedy = "animate takes the middle square, prepare needs it: pip install 'synhead[faces]'"
        yield Finding(topic="mediapipe", fact="not installed", state="missing", remedy=remedy)
    else:
        yield Finding(topic="mediapipe", fact=metadata.version("mediapipe"))


def _weights() -> Iterator[Finding]:
    from synhead.weights import checkpoint, hub
    from synhead.weights.errors import CheckpointError

    found = find_checkpoint()
    if found is None:
        remedy = f"name a checkpoint with --checkpoint or {CHECKPOINT_VARIABLE}"
        yield Finding(topic="weights", fact="none found: untrained ones are used", state="missing", remedy=remedy)
        return
    try:
        info = checkpoint.read_info(hub.resolve(found))
    except CheckpointError as error:
        yield Finding(topic="weights", fact=found, state="broken", remedy=str(error))
        return
    yield Finding(topic="weights", fact=f"{found}: {info.model.name}, {'trained' if info.trained else 'UNTRAINED'}")


def _timing() -> Iterator[Finding]:
    import torch

    from synhead.inference.animator import select_device

    device = select_device("auto")
    model = untrained("tiny", device=device)
    size = model.config.image_size
    image = torch.zeros(1, 3, size, size, device=device)
    with torch.inference_mode():
        source = model.observe(image)
        model.animate(source, model.keypoint_detector(image))  # the first call also sets kernels up
        start = time.perf_counter()
        for _ in range(TIMED_FRAMES):
            picture = model.animate(source, model.keypoint_detector(image)).image
        rate = TIMED_FRAMES / (_moment_done(picture) - start)
    yield Finding(
        topic="timing", fact=f"tiny model ({size} px): {rate:.1f} frames a second, one at a time, on {device}"
    )


def _moment_done(picture: torch.Tensor) -> float:
    """The time at which ``picture`` is really there; GPUs compute behind the program's back."""
    picture.sum().item()
    return time.perf_counter()


def _show(findings: list[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        state = Text(finding.state, style=_STYLES[finding.state])
        table.add_row(finding.topic, state, Text(finding.fact))
    results().print(table)
    for finding in findings:
        if finding.remedy:
            say(f"{finding.topic}: {finding.remedy}")
