"""Health of the codebooks: how often each scale chooses each code, counted on the device; restarts of dead codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from synhead.config import CodebookConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class CodeUse:
    """One codebook at one scale in a window: perplexity of the choice, share of codes chosen, codes never chosen."""

    perplexity: float
    used: float
    dead: int


class CodeMeter:
    """How often each scale chose each code of one codebook, since the last reset."""

    def __init__(self, model: ModelConfig, config: CodebookConfig, device: torch.device) -> None:
        self.scales = model.compensated_scales(config.scope)
        self.rows = {scale: model.codes(config, scale) for scale in self.scales}
        self.counts: Float[Tensor, "scales codes"] = torch.zeros(len(self.scales), config.codes, device=device)

    def update(self, indices: Sequence[Int[Tensor, "b _ _"]]) -> None:
        """Indices of one pass, one tensor a scale, counted from the first row that the scale sees; none if nothing was
        quantised.
        """
        if not indices:
            return
        for row, scale, index in zip(self.counts, self.scales, indices, strict=True):
            flat = index.detach().flatten()
            row[self.rows[scale]].scatter_add_(0, flat, torch.ones_like(flat, dtype=row.dtype))

    def reset(self) -> None:
        """Start a new window."""
        self.counts.zero_()

    def report(self, counts: Float[Tensor, "scales codes"]) -> Mapping[int, CodeUse]:
        """Figures by scale, of counts already summed over processes; synchronises."""
        return {scale: _use(row[self.rows[scale]]) for scale, row in zip(self.scales, counts.cpu(), strict=True)}


def _use(counts: Float[Tensor, " codes"]) -> CodeUse:
    share = counts / counts.sum().clamp_min(1)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    chosen = int((counts > 0).sum())
    return CodeUse(perplexity=float(entropy.exp()), used=chosen / len(counts), dead=len(counts) - chosen)


@torch.no_grad()
def split_dead_codes(
    codes: Float[Tensor, "codes width"],
    counts: Float[Tensor, "scales codes"],
    generator: torch.Generator,
    *,
    noise: float = 0.05,
) -> Int[Tensor, " dead"]:
    """Move codes that no scale chose next to chosen ones, drawn by how often those were; in place.

    The distance is ``noise`` times the standard deviation of the codes. Returns the rows that moved (for the
    optimiser's moments). ``generator`` is a CPU generator, alike on all processes. Nothing moves if no code was chosen.
    """
    total = counts.sum(dim=0).cpu()
    dead = torch.nonzero(total == 0).flatten()
    if not len(dead) or not bool(total.any()):
        return dead[:0]
    parents = torch.multinomial(total.double(), len(dead), replacement=True, generator=generator)
    offset = noise * float(codes.std()) * torch.randn(len(dead), codes.shape[1], generator=generator)
    rows = dead.to(codes.device)
    codes[rows] = codes[parents.to(codes.device)] + offset.to(codes)
    return dead
