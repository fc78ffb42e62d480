"""A server of its own process with small limits: ``python -m tests.app.web.small_server FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from synhead.app.models import untrained
from synhead.app.web.limits import Limits
from synhead.app.web.serving import Doors, Model, serve_web
from synhead.inference.animator import Animator, AnimatorOptions
from synhead.provenance.statement import Statement

LIMITS = Limits(
    portrait_bytes=8_000_000,
    driving_bytes=4_000_000,
    seconds=20.0,
    frames=100,
    waiting=4,
    upload_seconds=20.0,
    idle_seconds=2.0,
)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    animator = Animator(untrained("tiny"), AnimatorOptions(batch_size=2))
    model = Model(animator=animator, statement=Statement(model="preset tiny"), trained=False)
    serve_web(model, Doors(port=0), LIMITS, folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
