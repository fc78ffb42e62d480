"""Train a perceptual network of our own on face clips, to tell people and poses apart; `synhead train` takes it.

python benchmarks/features.py --data clips --out weights/face-features
synhead train --data clips --perceptual local --vgg weights/face-features
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from synhead.data.cache import open_store
from synhead.data.clips import open_clips
from synhead.losses.feature_weights import save_trunk
from synhead.training.face_features import FeatureConfig, FeatureFigures, train_features


def show(figures: FeatureFigures) -> None:
    """One line."""
    print(
        f"step {figures.step}: person {figures.person_loss:.3f} ({100 * figures.person_accuracy:.0f} % right), "
        f"frame {figures.frame_loss:.3f} ({100 * figures.frame_accuracy:.0f} % right)",
        flush=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Decode, train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the network")
    parser.add_argument("--size", type=int, default=128, help="of the pictures it is trained on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--people", type=int, default=16, help="a step, four frames of each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cache", type=Path, help="folder for decoded frames")
    parser.add_argument("--every", type=int, default=100, help="steps between figures")
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    store = open_store(open_clips(options.data, "train").clips, options.size, cache=options.cache)
    if device.type == "cuda":
        store = store.to(device)
    begun = time.perf_counter()
    config = FeatureConfig(steps=options.steps, people=options.people)
    trunk = train_features(store, config, device, show, every=options.every)
    save_trunk(trunk.cpu(), options.out)
    print(f"{options.out}: {options.steps} steps in {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
