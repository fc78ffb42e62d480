"""A small perceptual network of our own, trained on face clips to tell people and poses apart: no ImageNet needed.

Two tasks share one trunk: which person is it (cross entropy over all people of the set), and which of several frames
of the same clip is it, seen through another crop and colours (cross entropy over the frames, as in contrastive
learning). The first asks for texture and shape, the second for what moves within a clip: pose, mouth, eyes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from synhead.config import ConfigError, require
from synhead.data.augment import augment, plan_augmentation
from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.draws import Draw
from synhead.data.pairs import upload
from synhead.data.store import FrameStore
from synhead.losses.features import TrunkConfig, TrunkFeatures, random_trunk
from synhead.types import NDArray

FACE_TRUNK = TrunkConfig(widths=(32, 64, 128, 256), depths=(2, 2, 2, 1))
_VIEW = DataConfig(
    colour=ColourJitter(probability=1.0), crop=CropJitter(probability=1.0, min_scale=0.95, rotation_deg=2.0)
)
_GRID = 4
_WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """``people`` a step, one clip of each, ``frames`` of each clip. ``temperature``: of the choice among frames."""

    trunk: TrunkConfig = field(default_factory=lambda: FACE_TRUNK)
    steps: int = 2000
    people: int = 16
    frames: int = 4
    rate: float = 5e-4
    temperature: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        require(min(self.steps, self.people, self.rate, self.temperature) > 0, "features: all settings are positive")
        require(self.frames > 1, "features.frames must be at least 2: poses are told apart within a clip")


@dataclass(frozen=True, slots=True)
class FeatureFigures:
    """Means over a window: the two losses, and how often person and frame were named rightly."""

    step: int
    person_loss: float
    frame_loss: float
    person_accuracy: float
    frame_accuracy: float


class FaceTasks(nn.Module):
    """The trunk under training with its two heads, which are thrown away in the end."""

    def __init__(self, trunk: TrunkFeatures, people: int) -> None:
        super().__init__()
        width = trunk.config.widths[-1]
        self.trunk = trunk.requires_grad_(requires_grad=True)
        self.person = nn.Linear(width, people)
        self.pose = nn.Linear(width * _GRID**2, _WIDTH)

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n people"], Float[Tensor, "n width"]]:
        """Logits of the person, and a unit vector that describes the pose."""
        deepest = self.trunk(image)[-1]
        pooled = F.adaptive_avg_pool2d(deepest, _GRID)
        return self.person(pooled.mean(dim=(2, 3))), F.normalize(self.pose(pooled.flatten(1)), dim=1)


def train_features(
    store: FrameStore,
    config: FeatureConfig,
    device: torch.device,
    report: Callable[[FeatureFigures], None] = lambda _: None,
    *,
    every: int = 100,
) -> TrunkFeatures:
    """The trained trunk, frozen, each stage scaled to a mean feature of 1. Figures every ``every`` steps.

    Raises ConfigError for a set of fewer than two people, or of clips shorter than ``config.frames``.
    """
    if len(store.table.people) < 2 or int(store.lengths.min()) < config.frames:
        raise ConfigError(f"features need at least two people and clips of at least {config.frames} frames")
    random = np.random.default_rng(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tasks = FaceTasks(random_trunk(config.trunk, seed=config.seed), len(store.table.people)).to(device)
    optimizer = torch.optim.AdamW(tasks.parameters(), lr=config.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=config.steps + 1)
    figures = torch.zeros(4, device=device)
    for step in range(1, config.steps + 1):
        number, person = _choose(store, config, random)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            views = [tasks(_view(store, number, random, device)) for _ in range(2)]
            figures_now, loss = _losses(views, upload(person, device), config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(tasks.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        figures += figures_now / every
        if step % every == 0:
            report(FeatureFigures(step, *figures.tolist()))
            figures.zero_()
    sample = _view(store, _choose(store, config, random)[0], random, device)
    return scale_features(tasks.trunk.requires_grad_(requires_grad=False), sample)


@torch.no_grad()
def scale_features(trunk: TrunkFeatures, sample: Float[Tensor, "n 3 h w"]) -> TrunkFeatures:
    """Every stage's features divided by their mean over ``sample``, in place; the next stage makes up for it.

    ReLU and the maximum are positively homogeneous, so nothing else changes, and the stages weigh alike in the loss.
    """
    means = [float(features.mean().clamp_min(1e-6)) for features in trunk(sample)]
    layers = list(trunk.features)
    before = 1.0
    for index, mean in zip(trunk.taps, means, strict=True):
        first = layers[index - 1]
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        first.weight.mul_(before / mean)
        first.bias.div_(mean)
        end = next((tap - 1 for tap in trunk.taps if tap > index), len(layers))
        for layer in layers[index:end]:  # the rest of the stage: its biases shrink along
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.bias.div_(mean)
        before = mean
    return trunk


def _choose(
    store: FrameStore, config: FeatureConfig, random: np.random.Generator
) -> tuple[Int64[NDArray[np.int64], " n"], Int64[NDArray[np.int64], " n"]]:
    """Frame numbers, clip after clip, and the person of each."""
    people = random.choice(len(store.table.people), min(config.people, len(store.table.people)), replace=False)
    clips = np.array([random.choice(np.flatnonzero(store.table.person == person)) for person in people])
    within = [random.choice(store.lengths[clip], config.frames, replace=False) for clip in clips]
    number = (store.offsets[clips][:, None] + np.array(within)).reshape(-1)
    return number.astype(np.int64), np.repeat(people, config.frames).astype(np.int64)


def _view(
    store: FrameStore,
    number: Int64[NDArray[np.int64], " n"],
    random: np.random.Generator,
    device: torch.device,
) -> Float[Tensor, "n 3 h w"]:
    """The frames, each with colours and a crop of its own; not mirrored, which would be another pose."""
    picked = store.frames[torch.from_numpy(number).to(store.frames.device)].to(device)
    plan = plan_augmentation(random.random((len(number), len(Draw))), _VIEW)
    assert plan.colour is not None
    assert plan.crop is not None
    flip = torch.zeros(len(number), dtype=torch.bool, device=device)
    return augment(picked, flip, upload(plan.colour, device), upload(plan.crop, device))


def _losses(
    views: list[tuple[Tensor, Tensor]], person: Int64[Tensor, " n"], config: FeatureConfig
) -> tuple[Float[Tensor, " figures"], Float[Tensor, ""]]:
    """Figures of a step (see :class:`FeatureFigures`), and what is differentiated."""
    logits = torch.cat([view[0] for view in views]).float()
    twice = person.repeat(2)
    ours, theirs = (view[1].float().unflatten(0, (-1, config.frames)) for view in views)
    likeness = (ours @ theirs.transpose(1, 2) / config.temperature).flatten(0, 1)
    right = torch.arange(config.frames, device=likeness.device).repeat(len(ours))
    person_loss, frame_loss = F.cross_entropy(logits, twice), F.cross_entropy(likeness, right)
    hits = [(found.argmax(1) == wanted).float().mean() for found, wanted in ((logits, twice), (likeness, right))]
    return torch.stack([person_loss.detach(), frame_loss.detach(), *hits]), person_loss + frame_loss
