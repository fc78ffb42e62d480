"""Validation figures on held-out clips: same-identity reconstruction, and contact sheets.

    python benchmarks/validate.py --clips val.tar --checkpoint weights/base --json report.json --sheet sheet.png

The first frame of a clip is the source, ten evenly spaced later frames drive it with absolute keypoints. Besides the
model, copying the source and warping it by the coarse flow are measured. Face figures need mediapipe; where it is not
installed, render there and score elsewhere:

    python benchmarks/validate.py --clips val.tar --checkpoint weights/base --device cuda --render-only frames.npz
    python benchmarks/validate.py --clips val.tar --generated frames*.npz --json report.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from synhead.data.clips import open_clips
from synhead.data.files import replacing
from synhead.evaluation.contact_sheet import contact_sheet, write_contact_sheet
from synhead.evaluation.frame_archive import Frames, read_frames, write_frames
from synhead.evaluation.reconstruction import ReconstructionReport, render_trials, score_trials
from synhead.evaluation.renderers import CoarseWarpRenderer, ModelRenderer, Render, copy_source
from synhead.evaluation.trials import Trial, cross_identity_trials, read_trials
from synhead.faces.analyzer import FaceError
from synhead.weights.checkpoint import load

METHODS = ("copy", "warp", "model")


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", required=True, help="tar shards or a folder of face clips")
    parser.add_argument("--split", default="val", choices=("train", "val"), help="of a folder; tars are taken whole")
    made = parser.add_mutually_exclusive_group()
    made.add_argument("--checkpoint", type=Path, help="checkpoint directory (model.safetensors, config.json)")
    made.add_argument("--generated", type=Path, nargs="+", help="frames written by --render-only, all parts")
    parser.add_argument("--methods", default=",".join(METHODS), help="of copy, warp and model; default: all")
    parser.add_argument("--json", type=Path, help="report to write")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write: source | driving | results")
    parser.add_argument("--cross", type=Path, help="contact sheet of 12 cross-identity pairs to write")
    parser.add_argument("--render-only", type=Path, metavar="NPZ", help="write the rendered frames, measure nothing")
    parser.add_argument("--part-mib", type=float, help="split --render-only into files of about so many MiB at most")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=10, help="driving frames a clip")
    parser.add_argument("--size", type=int, help="of the pictures; default: the checkpoint's, or 256")
    parser.add_argument("--cache", type=Path, default=Path("outputs/landmarks"), help="landmarks of driving frames")
    parser.add_argument("--workers", type=int, default=2, help="threads that find landmarks")
    return parser.parse_args(argv)


def make_renderers(options: argparse.Namespace) -> tuple[dict[str, Render], int]:
    """Renderers by method, and the size of their pictures."""
    renderers: dict[str, Render] = {"copy": copy_source}
    size = options.size or 256
    if options.checkpoint is not None:
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        model = load(options.checkpoint, device=automatic if options.device == "auto" else options.device)
        precision = torch.bfloat16 if options.precision == "bf16" else torch.float32
        renderers["warp"] = CoarseWarpRenderer(model, options.batch, precision)
        renderers["model"] = ModelRenderer(model, options.batch, precision)
        size = model.config.image_size
    wanted = options.methods.split(",")
    return {name: render for name, render in renderers.items() if name in wanted}, size


def main(argv: Sequence[str] | None = None) -> int:
    """Render or read, then score and draw what was asked for."""
    options = parse_arguments(argv)
    renderers, size = make_renderers(options)
    trials, skipped = read_trials(open_clips(options.clips, options.split), count=options.frames, size=size)
    for clip in skipped:
        print(f"skipped {clip.name}: {clip.reason}", file=sys.stderr)
    pairs = cross_identity_trials(trials) if options.cross or options.render_only else ()
    start = time.perf_counter()
    rendered = {name: render_trials(render, [*trials, *pairs]) for name, render in renderers.items()}
    print(f"rendered {', '.join(rendered)} in {time.perf_counter() - start:.1f} s", file=sys.stderr)
    if options.generated:
        rendered |= read_frames(options.generated)
    if options.render_only:
        drawn = {name: clips for name, clips in rendered.items() if name != "copy"}
        part_bytes = int(options.part_mib * 2**20) if options.part_mib else None
        for path in write_frames(options.render_only, drawn, part_bytes=part_bytes):
            print(f"{path}  {path.stat().st_size / 2**20:.1f} MiB")
    draw_sheets(options, trials, pairs, rendered)
    if options.json or not options.render_only:
        return score(options, trials, rendered)
    return 0


def draw_sheets(
    options: argparse.Namespace,
    trials: Sequence[Trial],
    pairs: Sequence[Trial],
    rendered: Mapping[str, Mapping[str, Frames]],
) -> None:
    """The contact sheets asked for; copying the source is not worth a column."""
    shown = {name: clips for name, clips in rendered.items() if name != "copy"}
    for path, rows in ((options.sheet, trials), (options.cross, pairs)):
        if path is not None:
            write_contact_sheet(contact_sheet(rows, shown), path)
            print(path)


def score(options: argparse.Namespace, trials: Sequence[Trial], rendered: Mapping[str, Mapping[str, Frames]]) -> int:
    """Print one line a method, write the JSON."""
    reports: dict[str, ReconstructionReport] = {}
    try:
        for name, clips in rendered.items():
            reports[name] = score_trials(name, trials, clips, cache=options.cache, workers=options.workers)
            print(line(reports[name]), flush=True)
    except (FaceError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        report = {name: json.loads(found.to_json()) for name, found in reports.items()}
        with replacing(options.json) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def line(report: ReconstructionReport) -> str:
    """One row of a table."""
    f = report.figures
    return (
        f"{report.method:6s} PSNR {f.psnr_db:6.2f} dB  L1 {f.l1:.4f}  SSIM {f.ssim:.4f}  "
        f"landmarks {f.landmark_distance_px:6.2f} px  mouth {f.mouth_opening_error:.4f}  "
        f"eyes {f.eye_opening_error:.4f}  pose {f.pose_error_deg:5.2f} deg  "
        f"({report.frames} frames, {len(report.faceless)} without a face)"
    )


if __name__ == "__main__":
    sys.exit(main())
