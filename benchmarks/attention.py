"""Attention of narrow heads in training: our kernels by their tiles, beside PyTorch's own, forward and backward.

    python benchmarks/attention.py --batch 32 --width 4 16 32 --keys 256 1024 --no-tuning
    python benchmarks/attention.py --width 32 --kind own                              (compiles 36 kernels: a minute)

Milliseconds of one call for --tokens queries of --heads heads in bf16: over the tokens themselves (own; a random half
of the keys ignored: masked) and over as many codes as --keys that the batch shares. Tiles are queries x keys, warps,
stages; those of the package come first, the others are tried one kernel at a time. Needs a GPU.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

Tile = tuple[int, int, int, int]

KERNELS = {
    "forward": ("synhead.nn.triton_attention", "_TRAINING"),
    "by query": ("synhead.nn.fused_attention", "_QUERY_TILES"),
    "by key": ("synhead.nn.fused_attention", "_KEY_TILES"),
}
"""Where the tiles of each kernel stand."""


class Case(NamedTuple):
    """One attention: ``codes`` shared by the batch, or None for the tokens themselves."""

    batch: int
    tokens: int
    heads: int
    width: int
    codes: int | None
    masked: bool

    def inputs(self, device: str) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """What NarrowAttention takes."""
        torch.manual_seed(0)
        wide = self.heads * self.width

        def random(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device, dtype=torch.bfloat16).requires_grad_()

        if self.codes is not None:
            key, value = (random(self.heads, self.codes, self.width) for _ in range(2))
            return random(self.batch, self.tokens, wide), key, value, None
        ignored = torch.rand(self.batch, self.tokens, device=device) < 0.5 if self.masked else None
        return random(self.batch, self.tokens, 2 * wide), None, random(self.batch, self.tokens, wide), ignored

    def __str__(self) -> str:
        kind = f"{self.codes} codes" if self.codes else "masked" if self.masked else "own"
        return f"b{self.batch} {self.tokens} tokens, {self.heads} x {self.width}, {kind}"


def cases(options: argparse.Namespace) -> Iterator[Case]:
    """All of them."""
    for width in options.width:
        kinds = {"own": [(None, False)], "masked": [(None, True)], "codes": [(count, False) for count in options.keys]}
        for codes, masked in itertools.chain(*(kinds[kind] for kind in options.kind)):
            yield Case(options.batch, options.tokens, options.heads, width, codes, masked)


def tiles() -> Iterator[Tile]:
    """What is tried."""
    for rows, columns, warps in itertools.product((64, 128), (32, 64, 128), (4, 8)):
        yield rows, columns, warps, 2


def ours(case: Case, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Forward, and forward with backward."""
    from synhead.nn.fused_attention import NarrowAttention  # noqa: PLC0415 - Triton exists on GPU builds only

    first, key, value, ignored = case.inputs(device)
    leaves = [part for part in (first, key, value) if part is not None]

    def forward() -> Tensor:
        out: Tensor = NarrowAttention.apply(first, key, value, case.heads, ignored)  # type: ignore[no-untyped-call]
        return out

    gradient = torch.ones_like(forward())
    return forward, lambda: torch.autograd.grad(forward(), leaves, gradient)


def library(case: Case, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """PyTorch's own, with heads laid out as it likes them and codes expanded over the batch."""
    first, key, value, ignored = case.inputs(device)

    def heads(part: Tensor) -> Tensor:
        return part.detach().unflatten(-1, (case.heads, case.width)).transpose(1, 2).contiguous()

    if key is None:
        query, keys = (heads(part) for part in first.chunk(2, dim=-1))
        parts = [query, keys, heads(value)]
    else:
        parts = [heads(first), *(part.detach().expand(case.batch, -1, -1, -1).contiguous() for part in (key, value))]
    leaves = [part.requires_grad_() for part in parts]
    mask = None if ignored is None else ~ignored[:, None, None, :]

    def forward() -> Tensor:
        return F.scaled_dot_product_attention(*leaves, attn_mask=mask)

    gradient = torch.ones_like(forward())
    return forward, lambda: torch.autograd.grad(forward(), leaves, gradient)


def milliseconds(work: Callable[[], object]) -> float:
    """Median."""
    from triton.testing import do_bench  # noqa: PLC0415

    return float(do_bench(work, warmup=20, rep=60, return_mode="median"))


def compare(case: Case, device: str, *, tune: bool) -> None:
    """Print a case's rows."""
    print(case, flush=True)
    for name, (forward, both) in (("PyTorch", library(case, device)), ("package", ours(case, device))):
        print(f"  {name:10} forward {milliseconds(forward):7.3f}  with backward {milliseconds(both):7.3f}", flush=True)
    if not tune:
        return
    for kernel, (module, name) in KERNELS.items():
        found: list[tuple[float, Tile]] = []
        for tile in tiles():
            with patch(f"{module}.{name}", tile):
                try:
                    forward, both = ours(case, device)
                    found.append((milliseconds(forward if kernel == "forward" else both), tile))
                except Exception as error:  # a tile that does not fit is no candidate
                    print(f"  {kernel} {tile}: {type(error).__name__}", flush=True)
        best = "  ".join(f"{tile} {time:.3f}" for time, tile in sorted(found)[:4])
        print(f"  {kernel:10} {best}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, nargs="+", default=[4, 16, 32], help="channels of a head")
    parser.add_argument("--keys", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--kind", nargs="+", default=["own", "masked", "codes"], choices=("own", "masked", "codes"))
    parser.add_argument("--no-tuning", action="store_true", help="the package's tiles only")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        sys.exit("this needs a GPU")
    for case in cases(options):
        compare(case, "cuda", tune=not options.no_tuning)
    return 0


if __name__ == "__main__":
    sys.exit(main())
