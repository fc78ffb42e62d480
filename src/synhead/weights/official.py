"""The authors' published checkpoints: names mapped both ways, tensors untouched (spec F).

Files: ``net_g`` {"params", "params_ema"} (the generator network; the EMA weights are used) and ``net_motion_estimator``
{"params"}. Read with ``weights_only=True``: no code in a file is ever executed.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from synhead.config import ModelConfig, preset
from synhead.model.talking_head import TalkingHead
from synhead.weights import checkpoint
from synhead.weights.errors import CheckpointError, listed

Network = Literal["generator", "motion_estimator"]

# Last parts of names: ours, theirs.
_LEAVES = (
    (r"(^|\.)shortcut\.", r"\1conv_out."),
    (r"(^|\.)query\.(weight|bias)$", r"\1q.\2"),
    (r"(^|\.)key\.(weight|bias)$", r"\1k.\2"),
    (r"(^|\.)value\.(weight|bias)$", r"\1v.\2"),
    (r"(^|\.)out\.(weight|bias)$", r"\1proj_out.\2"),
    (r"self_attention\.", "self_attn."),
    (r"cross_attention\.", "cross_attn."),
    (r"in_proj\.", "in_proj_"),
    (r"^down_blocks\.", "encoder.down_blocks."),
    (r"^up_blocks\.", "decoder.up_blocks."),
)


def _encoder_blocks(n: int) -> list[str]:
    """Our names of E_I's numbered blocks, in their order (spec B.4)."""
    blocks = ["encoder.stem"]
    for i in range(n - 1):
        blocks += [f"encoder.levels.{i}.0", f"encoder.levels.{i}.1", f"encoder.downsamples.{i}"]
    return [*blocks, "encoder.enter.0", "encoder.enter.1", *_middle("encoder", 5), "encoder.norm", "encoder.head"]


def _decoder_blocks(n: int) -> list[str]:
    """Our names of D_I's numbered blocks, in their order."""
    blocks = ["decoder.stem", *_middle("decoder", 7)]
    for i in range(n - 1):
        blocks += [f"decoder.upsamples.{i}", f"decoder.before.{i}", f"decoder.after.{i}"]
    return [*blocks, "decoder.norm", "decoder.head"]


def _middle(part: str, count: int) -> list[str]:
    return [f"{part}.middle.{i}" for i in range(count)]


def _generator_prefixes(config: ModelConfig) -> list[tuple[str, str]]:
    """(theirs, ours), in the order of the published files."""
    scales = config.scales
    motion, appearance = "motion_compensation", "appearance_compensation"
    first, finer = scales[0], scales[1:]
    pairs = [("position_emb_app", f"{appearance}.transformer.position")]
    pairs += [("position_emb_motion", f"{motion}.transformer.position")]
    pairs += [(f"encoder.blocks.{i}", name) for i, name in enumerate(_encoder_blocks(len(scales)))]
    pairs += [(f"generator.blocks.{i}", name) for i, name in enumerate(_decoder_blocks(len(scales)))]
    projection = f"{appearance}.projections"
    pairs += [(f"app_feat_emb_{first}", f"{projection}.{first}.embed")]
    pairs += [(f"to_app_feat_{first}", f"{projection}.{first}.restore")]
    for s in finer:
        pairs += [
            (f"app_feat_emb_{s}.1", f"{projection}.{s}.embed"),
            (f"to_app_feat_{s}.0", f"{projection}.{s}.restore"),
        ]
    pairs += [("quantize_app.embedding.weight", f"{appearance}.codebook.weight")]
    for s in finer:
        modulation = f"decoder.fusions.{s}.modulation"
        pairs += [(f"fuse_convs_dict.{s}.encode_enc", f"{modulation}.encode")]
        pairs += [(f"fuse_convs_dict.{s}.{part}", f"{modulation}.{part}") for part in ("scale", "shift")]
    pairs += [(f"fuse_ms_dict.{s}", f"decoder.fusions.{s}.addition") for s in finer]
    pairs += [("quantize_motion.embedding.weight", f"{motion}.codebook.weight"), ("motion_emb", f"{motion}.encoder")]
    pairs += [("motion_block", f"{motion}.transformer.layers"), ("to_motion", f"{motion}.decoder")]
    theirs, ours = ("convc1", "convc2", "convf1", "convf2", "conv"), ("motion1", "motion2", "flow1", "flow2", "join")
    pairs += [(f"BasicMotionEncoder.{a}", f"{motion}.refiner.{b}") for a, b in zip(theirs, ours, strict=True)]
    pairs += [(f"to_context.{i}", f"{motion}.refiner.contexts.{s}") for i, s in enumerate(scales)]
    theirs = ("convc1", "conv1", "conv2", "convo1", "convo2")
    ours = ("context", "flow_hidden", "flow_out", "occlusion_hidden", "occlusion_out")
    pairs += [(f"refine.{a}", f"{motion}.refiner.{b}") for a, b in zip(theirs, ours, strict=True)]
    pairs += [("app_block", f"{appearance}.transformer.layers")]
    pairs += [(f"warped_source_enc_{s}", f"{motion}.query.warped.{s}") for s in scales]
    pairs += [("driving_kp_enc", f"{motion}.query.heatmaps")]
    return [*pairs, ("motion_query_enc_1", f"{motion}.query.guide"), ("motion_query_enc_2", f"{motion}.query.merge")]


_MOTION_ESTIMATOR_PREFIXES = [
    ("kp_detector.predictor", "keypoint_detector.hourglass"),
    ("kp_detector.kp", "keypoint_detector.logits"),
    ("kp_detector.jacobian", "keypoint_detector.jacobian"),
    ("kp_detector.down", "keypoint_detector.downscale"),
    ("dense_motion_network.hourglass", "coarse_motion.hourglass"),
    ("dense_motion_network.mask", "coarse_motion.mask"),
    ("dense_motion_network.down", "coarse_motion.downscale"),
    ("dense_motion_network.occlusion", "coarse_motion.occlusion"),
]


def name_map(config: ModelConfig, network: Network) -> dict[str, str]:
    """Published name to ours, in the published order. Raises CheckpointError for what was never published.

    Needs the full model: every module of the published generator must be there.
    """
    with torch.device("meta"):
        names = list(TalkingHead(config).state_dict())
    prefixes = _generator_prefixes(config) if network == "generator" else _MOTION_ESTIMATOR_PREFIXES
    mapped: dict[str, str] = {}
    for theirs, ours in prefixes:
        matched = [name for name in names if name == ours or name.startswith(f"{ours}.")]
        if not matched:
            raise CheckpointError(
                f"configuration {config.name!r} has no {ours}: only the full model has a published form"
            )
        mapped.update({_their_name(theirs, name[len(ours) + 1 :]): name for name in matched})
    return mapped


def lost(config: ModelConfig) -> tuple[str, ...]:
    """What the published form has no place for: names of tensors, then options in which ``config`` is not the published
    model (``paper``) and of which the files say nothing. Empty: both directions of the conversion are exact.
    """
    with torch.device("meta"):
        names = list(TalkingHead(config).state_dict())
    placed = {*name_map(config, "generator").values(), *name_map(config, "motion_estimator").values()}
    published = preset("paper")
    given = replace(config, name=published.name)
    return (*(name for name in names if name not in placed), *_different(asdict(given), asdict(published)))


def _different(given: Mapping[str, object], published: Mapping[str, object], above: str = "") -> list[str]:
    found: list[str] = []
    for name, value in given.items():
        theirs = published[name]
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            found += _different(value, theirs, f"{above}{name}.")
        elif value != theirs:
            found.append(f"{above}{name}")
    return found


def _their_name(prefix: str, rest: str) -> str:
    if not rest:
        return prefix
    # Upsampling and downsampling blocks keep their inner name; leaves are renamed.
    for pattern, replacement in _LEAVES:
        rest = re.sub(pattern, replacement, rest)
    return f"{prefix}.{rest}"


def read_pth(path: Path, entries: tuple[str, ...]) -> dict[str, Tensor]:
    """The first of ``entries`` that a published .pth holds, without ``module.`` prefixes. Never executes code."""
    if not path.is_file():
        raise CheckpointError(f"no file {path}: give the published .pth file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and was not loaded, since that could execute code: "
            "get the file from its authors' page again, or save its state dict alone"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is not a PyTorch checkpoint or is damaged: download it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dict with {' or '.join(entries)}")
    state = next((content[entry] for entry in entries if entry in content), None)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        found = listed([str(key) for key in content])
        raise CheckpointError(f"{path} has no {' or '.join(entries)} with tensors (found {found}): is it another file?")
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _scalars(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch counters as scalars, also where a tool has stored them as one-element arrays."""
    return {
        name: tensor.reshape(()) if name.endswith("num_batches_tracked") and tensor.numel() == 1 else tensor
        for name, tensor in state.items()
    }


def from_official(
    generator: dict[str, Tensor], motion_estimator: dict[str, Tensor], config: ModelConfig | None = None
) -> TalkingHead:
    """A model with the published tensors, in eval mode. Strict: raises CheckpointError naming what differs."""
    model = TalkingHead(config or preset("paper"))
    own = model.state_dict()
    renamed: dict[str, Tensor] = {}
    given: tuple[tuple[Network, dict[str, Tensor]], ...] = (
        ("generator", generator),
        ("motion_estimator", _scalars(motion_estimator)),
    )
    for network, tensors in given:
        mapped = name_map(model.config, network)
        expected = {theirs: own[ours].reshape(_their_shape(theirs, own[ours])) for theirs, ours in mapped.items()}
        checkpoint.check_tensors(expected, tensors, f"published {network} checkpoint")
        renamed.update({ours: tensors[theirs].reshape(own[ours].shape) for theirs, ours in mapped.items()})
    model.load_state_dict(renamed)
    return model.eval()


def to_official(model: TalkingHead, network: Network) -> dict[str, Tensor]:
    """Inverse of :func:`from_official` for one network: the published names, shapes and order."""
    own = model.state_dict()
    mapped = name_map(model.config, network)
    return {theirs: own[ours].reshape(_their_shape(theirs, own[ours])) for theirs, ours in mapped.items()}


def _their_shape(name: str, tensor: Tensor) -> tuple[int, ...]:
    """At the coarsest scale the projections are 1 x 1 convolutions there and linear layers here: the same numbers."""
    pointwise = re.fullmatch(r"(app_feat_emb|to_app_feat)_\d+\.weight", name)
    return (*tensor.shape, 1, 1) if pointwise else tuple(tensor.shape)


def convert(net_g: Path, net_motion_estimator: Path, out: Path) -> Path:
    """Published .pth files to our checkpoint directory."""
    generator = read_pth(net_g, ("params_ema", "params"))
    model = from_official(generator, read_pth(net_motion_estimator, ("params",)))
    return checkpoint.save(model, out, notes=("converted from the authors' published checkpoint (CC BY-NC 4.0)",))


def export(directory: Path, net_g: Path, net_motion_estimator: Path) -> None:
    """Our checkpoint directory back to the two published .pth files; neither is replaced before both are written.

    In float32, the averaged weights under both names of the generator's. See :func:`lost` for what is left out.
    Folders are made if they are not there.
    """
    model = checkpoint.load(directory)
    generator = to_official(model, "generator")
    outputs = (
        (net_g, {"params": generator, "params_ema": generator}),
        (net_motion_estimator, {"params": to_official(model, "motion_estimator")}),
    )
    for path, _ in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
    staged = [(path, path.with_name(f".{path.name}.partial")) for path, _ in outputs]
    try:
        for (_, content), (_, partial) in zip(outputs, staged, strict=True):
            torch.save(content, partial)
        for path, partial in staged:
            partial.replace(path)
    finally:
        for _, partial in staged:
            partial.unlink(missing_ok=True)
