"""Our checkpoint: a directory with ``model.safetensors`` and ``config.json``. Nothing in it can execute code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from synhead.config import ConfigError, ModelConfig, from_json
from synhead.model.talking_head import TalkingHead
from synhead.weights.errors import CheckpointError, listed
from synhead.weights.tensor_files import write_tensors

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What ``config.json`` says: the model's configuration and where the weights come from (free text by topic)."""

    model: ModelConfig
    format_version: int = FORMAT_VERSION
    trained: bool = True
    notes: tuple[str, ...] = field(default_factory=tuple)


def save(
    model: TalkingHead,
    directory: Path | str,
    *,
    dtype: torch.dtype | None = None,
    trained: bool = True,
    notes: tuple[str, ...] = (),
) -> Path:
    """Write a checkpoint directory; an existing one is replaced only once the new one is complete.

    ``dtype``: of the floating-point tensors on disk (``torch.float16`` halves the size); the model's own by default.
    """
    target = Path(directory)
    if target.exists() and not _replaceable(target):
        raise CheckpointError(f"{target} exists and is not a checkpoint: choose another output directory")
    info = CheckpointInfo(model=model.config, trained=trained, notes=notes)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        write_tensors(_storable(model.state_dict(), dtype), staging / WEIGHTS_FILE)
        (staging / CONFIG_FILE).write_text(json.dumps(asdict(info), indent=2) + "\n")
        staging.chmod(0o755)
        _swap(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return target


def read_info(directory: Path | str) -> CheckpointInfo:
    """The configuration of a checkpoint directory, without its weights."""
    folder = Path(directory)
    if not folder.is_dir():
        raise CheckpointError(
            f"no checkpoint directory {folder}: give a directory with {WEIGHTS_FILE} and {CONFIG_FILE}; "
            "published .pth files are turned into one by `synhead convert`"
        )
    try:
        text = (folder / CONFIG_FILE).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{folder} has no readable {CONFIG_FILE}: is it a Synhead checkpoint?") from error
    try:
        info = from_json(CheckpointInfo, text)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {error}") from error
    if info.format_version > FORMAT_VERSION:
        raise CheckpointError(
            f"{folder} has format {info.format_version}, this version reads up to {FORMAT_VERSION}: upgrade synhead"
        )
    return info


def load(directory: Path | str, *, device: torch.device | str = "cpu") -> TalkingHead:
    """The model of a checkpoint directory, float32, eval mode. Strict: raises CheckpointError naming what differs."""
    info = read_info(directory)
    path = Path(directory) / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"{directory} has no {WEIGHTS_FILE}: copy the whole checkpoint directory")
    try:
        tensors = load_file(path, device=str(device))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): copy or download it again") from error
    with torch.device("meta"):
        model = TalkingHead(info.model)
    check_tensors(model.state_dict(), tensors, str(path))
    model.load_state_dict({name: _usable(tensor) for name, tensor in tensors.items()}, assign=True)
    return model.eval()


def check_tensors(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
    """Raise CheckpointError if names or shapes differ, or a value is NaN or infinite, naming the tensors."""
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"missing {listed(missing)}")
    if unexpected := [name for name in found if name not in expected]:
        problems.append(f"unexpected {listed(unexpected)}")
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if misshapen:
        problems.append(f"wrong shape: {listed(misshapen, 3)}")
    if problems:
        raise CheckpointError(f"{where}: {'; '.join(problems)}. Use the weights that belong to this configuration")
    if spoilt := non_finite(found):
        raise CheckpointError(f"{where} holds NaN or infinity in {listed(spoilt, 3)}: use weights saved before that")


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of floating-point tensors that hold NaN or infinity; one synchronisation where none does."""
    floating = {name: t.detach() for name, t in tensors.items() if t.is_floating_point() and t.numel()}
    if not floating:
        return []
    # NaN comes through; as float32, for PyTorch's CPU kernels differ in what they do with half precision
    wide = (t.float() if t.itemsize < 4 else t for t in floating.values())
    ends = torch.stack([torch.stack(torch.aminmax(t)).double() for t in wide])
    if bool(torch.isfinite(ends).all()):
        return []
    return [name for name, t in floating.items() if not bool(torch.isfinite(t).all())]


def _storable(state: dict[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    return {
        name: (t.to(dtype) if dtype is not None and t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in state.items()
    }


def _usable(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _replaceable(target: Path) -> bool:
    """Only what this module wrote, or an empty directory, is ever replaced."""
    return target.is_dir() and {entry.name for entry in target.iterdir()} <= {WEIGHTS_FILE, CONFIG_FILE, "README.md"}


def _swap(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        os.replace(staging / name, target / name)  # noqa: PTH105 - replaces atomically, also on Windows
    staging.rmdir()
