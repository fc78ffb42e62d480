"""Warm restart: a run's state in a quarter of its size, for moving between machines in small files.

Not the exact resume. Kept: the averaged weights in half precision (they become the raw weights too), the discriminator
in half precision, counters, the sampler, and Adam's second moments as the product of row and column means (Shazeer
2018, Adafactor). Dropped: the raw weights and Adam's first moments; the learning rate warms up again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from synhead.training.checkpoint import Snapshot
from synhead.training.state import Counters, TrainingState, require_finite
from synhead.weights.errors import CheckpointError
from synhead.weights.tensor_files import write_tensors

_SCALARS = "leg.json"
_HALF_MAX = 65504.0
_MIB = 2**20


def export_leg(state: TrainingState, directory: Path, *, data: Mapping[str, int], shard_mib: float = 15.0) -> int:
    """Write ``leg-NN.safetensors`` of at most ``shard_mib`` each and ``leg.json``. Returns the bytes written.

    ``data``: the pair source's state. Raises CheckpointError if a tensor does not fit a shard or is not finite.
    """
    tensors = _pack(state)
    require_finite({"leg": tensors})
    shards = _shards(tensors, int(shard_mib * _MIB))
    counters = {field: getattr(state.counters, field) for field in state.counters.__slots__}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for stale in directory.glob("leg*"):
            stale.unlink()
        for index, shard in enumerate(shards):
            write_tensors(shard, directory / f"leg-{index:02d}.safetensors")
        scalars = {"shards": len(shards), "counters": counters, "data": dict(data)}
        (directory / _SCALARS).write_text(json.dumps(scalars, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: the leg was not written: {error}") from error
    return sum(path.stat().st_size for path in directory.glob("leg*"))


def read_leg(directory: Path) -> Snapshot:
    """What :func:`export_leg` wrote. Raises CheckpointError when files are missing."""
    path = directory / _SCALARS
    if not path.is_file():
        raise CheckpointError(f"{directory} holds no {_SCALARS}; name the folder that export-leg wrote")
    scalars = json.loads(path.read_text(encoding="utf-8"))
    shards = sorted(directory.glob("leg-*.safetensors"))
    if len(shards) != scalars["shards"]:
        raise CheckpointError(f"{directory} holds {len(shards)} of {scalars['shards']} shards; copy the others too")
    tensors = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    return Snapshot(tensors={"leg": tensors}, scalars=scalars)


def restore_leg(state: TrainingState, saved: Snapshot) -> None:
    """Start ``state`` from a leg, in place; ``counters.restarted_at`` makes the rate warm up from here."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in saved.tensors["leg"].items():
        part, name = key.split("/", 1)
        parts.setdefault(part, {})[name] = value.float() if value.is_floating_point() else value
    try:
        for module in (state.model, state.ema.model):
            module.load_state_dict(parts["ema"])
        state.discriminator.load_state_dict(parts["discriminator"])
        _restore_second_moments(state.generator_optimizer, state.model, parts.get("generator_optimizer", {}))
        _restore_second_moments(
            state.discriminator_optimizer, state.discriminator, parts.get("discriminator_optimizer", {})
        )
        state.counters = Counters(**saved.scalars["counters"])
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(
            f"the leg does not fit this model ({str(error).splitlines()[0]}); check --preset"
        ) from error
    state.counters.restarted_at = state.counters.iteration


def _pack(state: TrainingState) -> dict[str, Tensor]:
    tensors = {f"ema/{name}": _compact(value) for name, value in state.ema.model.state_dict().items()}
    tensors |= {f"discriminator/{name}": _compact(value) for name, value in state.discriminator.state_dict().items()}
    optimizers: dict[str, tuple[torch.optim.Optimizer, nn.Module]] = {
        "generator": (state.generator_optimizer, state.model),
        "discriminator": (state.discriminator_optimizer, state.discriminator),
    }
    for side, (optimizer, module) in optimizers.items():
        for name, parameter in module.named_parameters():
            moments = optimizer.state.get(parameter)
            if moments:
                key = f"{side}_optimizer/{name}"
                tensors |= {f"{key}/{part}": value for part, value in _factor(moments["exp_avg_sq"]).items()}
                tensors[f"{key}/step"] = moments["step"].detach().cpu().clone()
    return tensors


def _compact(tensor: Tensor) -> Tensor:
    """Half precision for matrices and kernels that fit its range; vectors (norms, biases, statistics) stay whole."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.ndim >= 2 and tensor.is_floating_point() and float(tensor.abs().max()) < _HALF_MAX:
        return tensor.half()
    return tensor.clone()


def _factor(moment: Tensor) -> dict[str, Tensor]:
    """v as row and column means of its (first, rest) matrix; vectors as they are."""
    moment = moment.detach().cpu().contiguous()
    if moment.ndim < 2:
        return {"whole": moment.clone()}
    matrix = moment.flatten(1)
    return {"rows": matrix.mean(dim=1), "columns": matrix.mean(dim=0)}


def _unfactor(parts: Mapping[str, Tensor], shape: torch.Size) -> Tensor:
    if "whole" in parts:
        return parts["whole"]
    rows, columns = parts["rows"], parts["columns"]
    return (rows[:, None] * columns / rows.mean().clamp_min(torch.finfo(rows.dtype).tiny)).reshape(shape)


def _restore_second_moments(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, part = key.rsplit("/", 1)
        grouped.setdefault(name, {})[part] = value
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for name, parts in grouped.items():
        parameter = parameters[name]
        second = torch.zeros_like(parameter, requires_grad=False).copy_(_unfactor(parts, parameter.shape))
        first = torch.zeros_like(parameter, requires_grad=False)
        step = parts["step"].to(parameter.device)
        optimizer.state[parameter].update({"step": step, "exp_avg": first, "exp_avg_sq": second})


def _shards(tensors: Mapping[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """First-fit decreasing, with room for the header of each shard."""
    room = limit - 160 * len(tensors)
    shards: list[tuple[int, dict[str, Tensor]]] = []
    for name, tensor in sorted(tensors.items(), key=lambda item: -item[1].nbytes):
        if tensor.nbytes > room:
            raise CheckpointError(f"{name} alone is larger than a shard of {limit / _MIB:.2g} MiB; raise shard_mib")
        for index, (used, shard) in enumerate(shards):
            if used + tensor.nbytes <= room:
                shard[name] = tensor
                shards[index] = (used + tensor.nbytes, shard)
                break
        else:
            shards.append((tensor.nbytes, {name: tensor}))
    return [shard for _, shard in shards]
