"""A 3 x 3 convolution of a doubled picture as four 2 x 2 convolutions of the small one: the kernels of the phases."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def phase_kernels(weight: Float[Tensor, "d c 3 3"]) -> Float[Tensor, "d4 c 2 2"]:
    """Row (column) phase 0 reads pixels i-1, i with taps w0, w1 + w2; phase 1 reads i, i+1 with w0 + w1, w2."""
    first, middle, last = weight.unbind(dim=2)
    rows = (torch.stack([first, middle + last], dim=2), torch.stack([first + middle, last], dim=2))
    kernels = []
    for row in rows:
        left, centre, right = row.unbind(dim=3)
        kernels.append(torch.stack([left, centre + right], dim=3))
        kernels.append(torch.stack([left + centre, right], dim=3))
    return torch.cat(kernels)
