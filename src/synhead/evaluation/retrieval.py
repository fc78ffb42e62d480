"""Whether the codes are retrieved: how widely cross-attention spreads over them, and what the picture owes to them.

That many codes are chosen by the quantiser (:mod:`synhead.evaluation.codebook_health`) says nothing of it: the picture
sees codes through cross-attention only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from synhead.evaluation.renderers import ModelRenderer
from synhead.evaluation.trials import Trial
from synhead.model.codebook import Codebook, RetrievalTransformer
from synhead.model.talking_head import TalkingHead
from synhead.nn.attention import MultiHeadAttention, RetrievalLayer
from synhead.types import CodeMemory, NDArray

_ROWS = 1024
"""Queries whose weights are looked at together."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """One codebook. ``spread``: by number of visible codes, perplexity of the attention's weights, over all queries.

    ``effect``: mean absolute change of the picture, of 255 levels, when every query retrieves the mean of all codes.
    """

    name: str
    spread: Mapping[int, float]
    effect: float


@torch.inference_mode()
def measure_retrieval(model: TalkingHead, trials: Iterable[Trial]) -> tuple[Retrieval, ...]:
    """Of each codebook that the model has, over all driving frames of the trials, in eval mode and float32."""
    scopes = {"motion": model.config.motion.scope, "appearance": model.config.appearance.scope}
    parts = {name: _attentions(model, name) for name, scope in scopes.items() if scope != "none"}
    render, frames = ModelRenderer(model), 0
    gathered = {name: dict[int, list[float]]() for name in parts}
    changed = dict.fromkeys(parts, 0.0)
    for trial in trials:
        with _watched(parts, gathered):
            plain = render(trial.source, trial.driving)
        for name in parts:
            with equal_codes(model, name):
                changed[name] += float(_difference(plain, render(trial.source, trial.driving)).sum())
        frames += len(plain)
    return tuple(
        Retrieval(
            name=name,
            spread={codes: float(np.exp(np.mean(found))) for codes, found in sorted(gathered[name].items())},
            effect=changed[name] / max(1, frames),
        )
        for name in parts
    )


def describe_retrieval(found: Sequence[Retrieval]) -> Sequence[str]:
    """One line a codebook."""
    lines = []
    for one in found:
        spread = ", ".join(f"{value:.0f} of {codes}" for codes, value in one.spread.items())
        lines.append(
            f"{one.name} codebook: cross-attention spreads over {spread} codes; with all codes equal the picture "
            f"changes by {one.effect:.2f} of 255 levels"
        )
    return lines


@contextmanager
def equal_codes(model: TalkingHead, name: str) -> Iterator[None]:
    """Inside the block, keys and values of all codes of a codebook (motion or appearance) are the mean of all codes'.

    So every query retrieves the same, at every scale.
    """
    transformer = _transformer(model, name)
    plain = transformer.memory

    def memory(codebook: Codebook) -> CodeMemory:
        found = plain(codebook)
        return CodeMemory(keys=tuple(map(_levelled, found.keys)), values=tuple(map(_levelled, found.values)))

    transformer.memory = memory  # type: ignore[method-assign]
    try:
        yield
    finally:
        del transformer.memory


def _levelled(rows: Float[Tensor, "heads m d"]) -> Float[Tensor, "heads m d"]:
    return rows.mean(dim=1, keepdim=True).expand_as(rows)


def _transformer(model: TalkingHead, name: str) -> RetrievalTransformer:
    transformer = model.get_submodule(f"{name}_compensation.transformer")
    assert isinstance(transformer, RetrievalTransformer)
    return transformer


def _attentions(model: TalkingHead, name: str) -> tuple[MultiHeadAttention, ...]:
    """Cross-attention of the layers of a codebook's transformer."""
    layers = _transformer(model, name).layers
    return tuple(layer.cross_attention for layer in layers if isinstance(layer, RetrievalLayer))


@contextmanager
def _watched(
    parts: Mapping[str, Sequence[MultiHeadAttention]], gathered: Mapping[str, dict[int, list[float]]]
) -> Iterator[None]:
    """Inside the block, mean entropies of attention weights are gathered by the number of codes."""
    attentions = [(attention, gathered[name]) for name, each in parts.items() for attention in each]
    for attention, entropies in attentions:
        attention.cross_attend = _noting(attention, entropies)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for attention, _ in attentions:
            del attention.cross_attend


def _noting(attention: MultiHeadAttention, entropies: dict[int, list[float]]) -> Callable[..., Tensor]:
    plain = attention.cross_attend

    def cross_attend(tokens: Tensor, position: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = attention._project(tokens + position, 0, 1)
        scaled = query.transpose(0, 1).flatten(1, 2) / query.shape[-1] ** 0.5
        entropies.setdefault(key.shape[1], []).append(_entropy(scaled, key))
        return plain(tokens, position, key, value)

    return cross_attend


def _entropy(query: Float[Tensor, "heads n d"], key: Float[Tensor, "heads m d"]) -> float:
    """Mean over heads and queries, in nats."""
    total = 0.0
    for rows in query.split(_ROWS, dim=1):
        share = torch.softmax(rows.float() @ key.float().transpose(1, 2), dim=-1)
        total += float(torch.special.entr(share).sum())
    return total / (query.shape[0] * query.shape[1])


def _difference(one: NDArray[Any], other: NDArray[Any]) -> Float[NDArray[np.float64], " n"]:
    """Mean absolute difference of each picture, in 8-bit levels."""
    return np.abs(one.astype(np.int16) - other).mean(axis=(1, 2, 3))
