"""Which clip and which two frames make a training pair: pure functions of uniform numbers (spec D)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from synhead.data.config import DataConfig
from synhead.data.draws import Draw, Uniforms
from synhead.data.records import Clip, DataError
from synhead.types import NDArray

PASSES_PER_EPOCH = 100
"""Passes over the identity list in an epoch of the published recipe."""


@dataclass(frozen=True, slots=True)
class ClipTable:
    """Clips and the person of each: ``people[person[i]]`` is in clip i."""

    names: tuple[str, ...]
    people: tuple[str, ...]
    person: Int64[NDArray[np.int64], " clips"]
    generated: Bool[NDArray[np.bool_], " clips"]

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> ClipTable:
        """Table of ``clips`` in their order; people are sorted by name."""
        people = sorted({clip.person for clip in clips})
        number = {person: i for i, person in enumerate(people)}
        return cls(
            names=tuple(clip.name for clip in clips),
            people=tuple(people),
            person=np.array([number[clip.person] for clip in clips], dtype=np.int64),
            generated=np.array([clip.generated for clip in clips], dtype=np.bool_),
        )


@runtime_checkable
class ClipChooser(Protocol):
    """Chooses the clip of each sample."""

    def choose(self, index: UInt64[NDArray[np.uint64], " b"], uniform: Uniforms) -> Int64[NDArray[np.int64], " b"]:
        """Clip of the samples numbered ``index`` from their uniform numbers."""


def clip_chooser(table: ClipTable, config: DataConfig, seed: int) -> ClipChooser:
    """The chooser that ``config.sampling`` names."""
    if config.sampling == "reference":
        return ReferenceChooser(table, seed)
    return BalancedChooser(table, config)


class ReferenceChooser:
    """The published order: each epoch is a random permutation of 100 passes over the identities; then any clip of the
    identity. Unlike the published loader nothing is dropped at the end of an epoch, so that the stream does not
    depend on the batch size.
    """

    def __init__(self, table: ClipTable, seed: int) -> None:
        self._order = np.argsort(table.person, kind="stable").astype(np.int64)
        self._count = np.bincount(table.person, minlength=len(table.people))
        self._start = np.cumsum(self._count) - self._count
        self._seed = seed
        self._permutations: dict[int, Int64[NDArray[np.int64], " epoch"]] = {}

    @property
    def epoch_length(self) -> int:
        """Samples of one epoch."""
        return PASSES_PER_EPOCH * len(self._count)

    def choose(self, index: UInt64[NDArray[np.uint64], " b"], uniform: Uniforms) -> Int64[NDArray[np.int64], " b"]:
        """See :class:`ClipChooser`."""
        epoch, place = np.divmod(index.astype(np.int64), self.epoch_length)
        person = np.empty(len(index), dtype=np.int64)
        for number in np.unique(epoch):
            here = epoch == number
            person[here] = self._permutation(int(number))[place[here]]
        offset = (uniform[:, Draw.CLIP] * self._count[person]).astype(np.int64)
        clips: NDArray[Any] = self._order[self._start[person] + offset]
        return clips

    def _permutation(self, epoch: int) -> Int64[NDArray[np.int64], " epoch"]:
        if epoch not in self._permutations:
            if len(self._permutations) > 1:
                self._permutations.clear()
            generator = np.random.default_rng([self._seed % 2**63, epoch])
            self._permutations[epoch] = generator.permutation(self.epoch_length) % len(self._count)
        return self._permutations[epoch]


class BalancedChooser:
    """Independent draws; clip c of person p has weight w_c n_p^(t - 1), with n_p clips of p, temperature t, and w_c
    ``generated_weight`` or 1, so that a person with only real clips has the weight n_p^t.
    """

    def __init__(self, table: ClipTable, config: DataConfig) -> None:
        clips_of_person = np.bincount(table.person)[table.person].astype(np.float64)
        kind = np.where(table.generated, config.generated_weight, 1.0)
        weight = kind * clips_of_person ** (config.person_temperature - 1.0)
        if not weight.sum() > 0:
            raise DataError("every clip has weight 0; raise data.generated_weight or add real clips")
        self._cumulative = np.cumsum(weight) / weight.sum()

    def choose(self, index: UInt64[NDArray[np.uint64], " b"], uniform: Uniforms) -> Int64[NDArray[np.int64], " b"]:  # noqa: ARG002
        """See :class:`ClipChooser`."""
        found: NDArray[Any] = np.searchsorted(self._cumulative, uniform[:, Draw.CLIP], side="right")
        return np.minimum(found, len(self._cumulative) - 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class FramePair:
    """Frame numbers within the clips."""

    source: Int64[NDArray[np.int64], " b"]
    driving: Int64[NDArray[np.int64], " b"]


def choose_frames(lengths: Int64[NDArray[np.int64], " b"], uniform: Uniforms, config: DataConfig) -> FramePair:
    """Source and driving frame in clips of ``lengths`` frames: the earlier is the source, unless swapped."""
    if config.sampling == "reference":
        first = (uniform[:, Draw.FIRST_FRAME] * lengths).astype(np.int64)
        second = (uniform[:, Draw.SECOND_FRAME] * lengths).astype(np.int64)
        early, late = np.minimum(first, second), np.maximum(first, second)
    else:
        early, late = _frames_at_distance(lengths, uniform, config)
    swap = uniform[:, Draw.SWAP] < config.swap_probability
    return FramePair(source=np.where(swap, late, early), driving=np.where(swap, early, late))


def _frames_at_distance(
    lengths: Int64[NDArray[np.int64], " b"], uniform: Uniforms, config: DataConfig
) -> tuple[Int64[NDArray[np.int64], " b"], Int64[NDArray[np.int64], " b"]]:
    """Distance uniform between its limits (as far as the clip allows), then the earlier frame uniform."""
    last = lengths - 1
    highest = last if config.max_distance is None else np.minimum(last, config.max_distance)
    far = uniform[:, Draw.FAR] < config.far_probability
    lowest = np.minimum(np.where(far, np.maximum(config.min_distance, lengths // 2), config.min_distance), highest)
    distance = lowest + (uniform[:, Draw.FIRST_FRAME] * (highest - lowest + 1)).astype(np.int64)
    early = (uniform[:, Draw.SECOND_FRAME] * (lengths - distance)).astype(np.int64)
    return early, early + distance
