"""Train the keypoint detector alone on landmarks, as a start for `synhead train --init`.

python benchmarks/keypoints.py --data clips --landmarks landmarks.npz --preset base --out start
synhead train --data clips --init start --landmarks landmarks.npz --set losses.weights.landmarks=10
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from synhead.config import preset
from synhead.data.augment import to_image
from synhead.data.dataset import LoadOptions, load_validation, open_pairs
from synhead.data.face_points import load_points
from synhead.data.pairs import BatchFormat
from synhead.model.talking_head import TalkingHead
from synhead.training.config import recipe
from synhead.training.keypoint_start import KeypointFigures, KeypointStart, held_out_figures, train_keypoints
from synhead.weights.checkpoint import load, save

_HELD_OUT = 512
"""Frames that are looked at, evenly over the held-out clips."""


def main(argv: Sequence[str] | None = None) -> int:
    """Decode, train, measure, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="clips as for `synhead train`")
    parser.add_argument("--landmarks", type=Path, required=True, help="file of benchmarks/landmarks.py")
    parser.add_argument("--val", help="held-out clips")
    parser.add_argument("--val-landmarks", type=Path, help="their landmarks")
    parser.add_argument("--preset", default="base")
    parser.add_argument("--init", type=Path, help="checkpoint to start from, instead of a preset's new weights")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder")
    parser.add_argument("--steps", type=int, default=KeypointStart.steps)
    parser.add_argument("--batch", type=int, default=KeypointStart.batch)
    parser.add_argument("--rate", type=float, default=KeypointStart.rate)
    parser.add_argument("--every", type=int, default=200, help="steps between figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(argv)
    device = torch.device(options.device)
    model = TalkingHead(preset(options.preset)) if options.init is None else load(options.init)
    model.to(device)
    data = recipe("synhead", model.config).data
    pairs = open_pairs(
        options.data, data, form=BatchFormat(device=device), options=LoadOptions(points=options.landmarks)
    )
    held_out = None
    if options.val is not None and options.val_landmarks is not None:
        store = load_validation(options.val, data)
        rows = torch.from_numpy(np.linspace(0, len(store.frames) - 1, min(_HELD_OUT, len(store.frames))).astype(int))
        held_out = to_image(store.frames[rows].to(device)), load_points(options.val_landmarks, store)[rows].to(device)
    begun = time.perf_counter()

    def show(figures: KeypointFigures) -> None:
        line = f"step {figures.step}: landmarks {figures.landmarks_px:.2f} px, openings {figures.openings_px:.2f} px"
        if held_out is not None:
            other = held_out_figures(model.keypoint_detector, *held_out, step=figures.step)
            line += f"; held out {other.landmarks_px:.2f}, {other.openings_px:.2f}"
        print(f"{line}; {time.perf_counter() - begun:.0f} s", flush=True)

    config = KeypointStart(steps=options.steps, batch=options.batch, rate=options.rate)
    train_keypoints(model.keypoint_detector, pairs, config, device, show, every=options.every)
    seen = 2 * options.steps * options.batch
    save(model.cpu(), options.out, notes=(f"keypoint detector trained alone on landmarks, {seen} pictures",))
    print(f"{options.out}: {options.steps} steps in {time.perf_counter() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
