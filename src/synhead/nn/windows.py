"""Windows of a picture as tokens and back, for training on a GPU: moves of whole rows, in the layout that follows.

``rearrange`` on a channels-last picture copies value by value, and the gradient of it comes out channels first, which
slows down every sum that it meets. Here a window's row is moved as it lies, in words of sixteen bytes.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_WORDS = (torch.complex128, torch.int64, torch.int32)


def _swap(x: Tensor, first: int, second: int) -> Tensor:
    """(... first second k), without gaps, to (... second first k), in as wide words as k allows."""
    lines = x.reshape(-1, first, second, x.numel() // (x.shape[0] * first * second))
    size = lines.shape[-1] * x.element_size()
    for word in _WORDS:
        if size % word.itemsize == 0 and x.data_ptr() % word.itemsize == 0:
            return lines.view(word).transpose(1, 2).contiguous().view(x.dtype)
    return lines.transpose(1, 2).contiguous()


class _Swap(torch.autograd.Function):
    """``apply(x, first, second)``: :func:`_swap` of x (n, first * second * k); so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: int, second: int) -> Tensor:  # noqa: ANN401 - as the base has it
        ctx.sizes = second, first
        return _swap(x, first, second).view(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        gradient = gradients[0].contiguous()
        return _swap(gradient, *ctx.sizes).view(gradient.shape), None, None


def part_windows(x: Float[Tensor, "b c s s"], size: int) -> Float[Tensor, "b n d"]:
    """Tokens in row-major order; inside a window: row, column, channel fastest."""
    rows = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    batch, side, _, channels = rows.shape
    count = side // size
    if size > 1:
        lines: Tensor = _Swap.apply(rows.reshape(batch * count, -1), size, count)  # type: ignore[no-untyped-call]
        rows = lines
    return rows.reshape(batch, count * count, size * size * channels)


def join_windows(tokens: Float[Tensor, "b n d"], size: int) -> Float[Tensor, "b c s s"]:
    """The reverse; channels last."""
    batch, places, width = tokens.shape
    count = round(places**0.5)
    rows = tokens.reshape(batch * count, -1)
    if size > 1:
        rows = _Swap.apply(rows.contiguous(), count, size)  # type: ignore[no-untyped-call]
    side, channels = count * size, width // (size * size)
    return rows.reshape(batch, side, side, channels).permute(0, 3, 1, 2)
