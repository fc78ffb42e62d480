"""Convolutions whose biases, sums and rectifiers go by the fused kernels where they apply, PyTorch's way elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.precision import HALF, autocast_dtype
from synhead.geometry.triton_there import takes_kernels
from synhead.nn.parts import first_channels

Activation = Literal["none", "relu", "leaky"]

_EIGHT = 8  # values of half precision in sixteen bytes
_LARGE = 2**21  # values from which a saved pass is worth more than the launch of a kernel of ours
_LARGE_KERNEL = 5  # side from which a convolution over few channels goes by the rows of its kernel
_FEW = 48  # channels: with seven rows 336 after gathering
_TOO_FEW = 16  # inputs below which cuDNN does it: two were measured, see fused_rows.py, none between

_Halved = dict[tuple[nn.Conv2d, torch.dtype, int], tuple[Tensor, Tensor]]
_HALVED: ContextVar[_Halved | None] = ContextVar("halved", default=None)
"""Weights and biases in half precision, by convolution and channels of zeros, within :func:`halved_once`."""


def half_kernels(x: Tensor) -> torch.dtype | None:
    """The half precision in which a convolution would take ``x``, if the Triton kernels take it; else None."""
    dtype = autocast_dtype(x)
    return dtype if dtype in HALF and takes_kernels(x.device) else None


def training_kernels(x: Tensor) -> torch.dtype | None:
    """:func:`half_kernels` where gradients are wanted; else None."""
    return half_kernels(x) if torch.is_grad_enabled() else None


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d``; its bias is added at the rate of the memory, and so is its gradient made."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:  # noqa: A002 - as the base's
        if self.bias is None or training_kernels(input) is None:
            return super().forward(input)
        return convolve(input, self.weight, self.bias, self)


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
    """The convolution without its bias."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


def convolve(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "d e h1 w1"],
    bias: Float[Tensor, " d"],
    like: nn.Conv2d,
    activation: Activation = "none",
) -> Float[Tensor, "b d h2 w2"]:
    """Convolution by ``weight``, then bias and activation in a pass of their own; strides and padding as of ``like``.

    With channels, in and out, filled up to multiples of eight by zeros: on a GPU others have slow kernels, and so have
    large kernels over few channels, which go by rows. For training on a GPU with Triton, in any precision.
    """
    few, padding = _few(weight, like), like.padding
    if few == "inputs":
        from synhead.nn.fused_rows import gather_inputs  # noqa: PLC0415 - Triton exists on GPU builds only

        x, weight, padding = gather_inputs(x, weight, _both(padding), autocast_dtype(x))
    outputs, inputs = -weight.shape[0] % _EIGHT, -weight.shape[1] % _EIGHT
    if inputs and like.groups == 1:
        x = F.pad(x.to(autocast_dtype(x)), (0, 0, 0, 0, 0, inputs))
    if few == "outputs":
        from synhead.nn.fused_rows import sum_outputs  # noqa: PLC0415

        return add_bias(sum_outputs(x, weight, _both(padding)), bias, activation=activation)
    if (outputs or inputs) and like.groups == 1:
        weight = F.pad(weight, (0, 0, 0, 0, 0, inputs, 0, outputs))
        bias = F.pad(bias, (0, outputs))
    out = F.conv2d(x, weight, None, like.stride, padding, like.dilation, like.groups)
    out = add_bias(out, bias, activation=activation)
    return first_channels(out, out.shape[1] - outputs) if outputs and like.groups == 1 else out


def _few(weight: Tensor, like: nn.Conv2d) -> Literal["inputs", "outputs"] | None:
    """The side on which a large kernel (d c h w) has so few channels that its rows are to be channels there.

    None where inputs are fewer still.
    """
    plain = like.groups == 1 and like.stride == (1, 1) == like.dilation and not isinstance(like.padding, str)
    if not plain or min(weight.shape[2:]) < _LARGE_KERNEL or weight.shape[1] < _TOO_FEW:
        return None
    if weight.shape[1] <= _FEW:
        return "inputs"
    return "outputs" if weight.shape[0] <= _FEW else None


def _both(padding: str | tuple[int, ...]) -> tuple[int, int]:
    """Of rows and columns."""
    assert not isinstance(padding, str)
    return padding[0], padding[1]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """The activation by PyTorch; leaky: of slope 0.2."""
    if activation == "none":
        return x
    return F.relu(x) if activation == "relu" else F.leaky_relu(x, 0.2)


def activated(conv: nn.Module, x: Float[Tensor, "b c h w"], activation: Activation) -> Float[Tensor, "b d h2 w2"]:
    """``activate(conv(x), activation)``; in training on the kernels, bias and activation are one pass each way."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is None or training_kernels(x) is None:
        return activate(conv(x), activation)
    return convolve(x, conv.weight, conv.bias, conv, activation)


def add_bias(
    x: Float[Tensor, "b c h w"],
    bias: Float[Tensor, " c"],
    *others: Float[Tensor, "b c h w"],
    activation: Activation = "none",
) -> Float[Tensor, "b c h w"]:
    """``activation(x + bias)``, or without one ``x + bias`` plus up to two others.

    May be over ``x``, which nothing else may need, such as a convolution's result.
    """
    if x.numel() >= _LARGE and half_kernels(x) is not None and x.is_contiguous(memory_format=torch.channels_last):
        from synhead.nn.fused_bias import AddBias  # noqa: PLC0415 - Triton exists on GPU builds only

        out: Tensor = AddBias.apply(x, bias, activation, *others)  # type: ignore[no-untyped-call]
        return out
    total = activate(x + bias.to(x.dtype)[:, None, None], activation)
    for other in others:
        total = total + other
    return total


def _frozen_half(conv: nn.Conv2d, x: Tensor) -> torch.dtype | None:
    """``half_kernels`` for a convolution whose weights need no gradients."""
    return None if torch.is_grad_enabled() and conv.weight.requires_grad else half_kernels(x)


def normalized(
    conv: nn.Conv2d,
    image: Float[Tensor, "b c h w"],
    mean: Float[Tensor, "1 c 1 1"],
    std: Float[Tensor, "1 c 1 1"],
) -> Float[Tensor, "b d h w"]:
    """``(image - mean) / std`` for :func:`rectified` with ``conv``.

    By the kernels with channels of zeros, as many as aligned reads take.
    """
    dtype = _frozen_half(conv, mean)  # not the image's: half-precision images beside float32 weights stay float32 here
    if dtype is None:
        return (image - mean) / std
    from synhead.nn.fused_picture import NormalizedPicture  # noqa: PLC0415

    out: Tensor = NormalizedPicture.apply(image, mean, std, dtype)  # type: ignore[no-untyped-call]
    return out


def rectified(conv: nn.Conv2d, x: Float[Tensor, "b c h w"], *, pooled: bool = False) -> Float[Tensor, "b d h2 w2"]:
    """``relu(conv(x))`` of a 3 x 3 convolution that keeps the size, fast if its weights are frozen.

    ``pooled``: and its 2 x 2 maxima. ``x`` may have the channels that :func:`normalized` adds.
    """
    dtype = _frozen_half(conv, x)
    if dtype is None:
        out = F.relu(conv(x), inplace=True)
        return F.max_pool2d(out, 2) if pooled else out
    from synhead.nn.fused_bias import RectifiedConvolution  # noqa: PLC0415
    from synhead.nn.fused_pool import RectifiedPooledConvolution  # noqa: PLC0415

    function = RectifiedPooledConvolution if pooled else RectifiedConvolution
    return function.apply(*_halves(conv, x, dtype))  # type: ignore[no-untyped-call]


def compared(
    conv: nn.Conv2d, x: Float[Tensor, "mb c h w"], wanted: Float[Tensor, "b d h w"]
) -> tuple[Float[Tensor, "mb d h w"], Float[Tensor, " m"]]:
    """:func:`rectified`, and E[|.|] of each of m sets of images, one after the other, from one set without gradients.

    Together because the gradients of both results meet behind the ReLU: one pass there instead of three.
    """
    dtype = _frozen_half(conv, x)
    if dtype is None:
        out = rectified(conv, x)
        difference = (out.unflatten(0, (-1, wanted.shape[0])) - wanted).abs()
        return out, difference.mean(dim=(1, 2, 3, 4), dtype=torch.promote_types(out.dtype, torch.float32))
    from synhead.nn.fused_distance import ComparedConvolution  # noqa: PLC0415

    out, distances = ComparedConvolution.apply(*_halves(conv, x, dtype), wanted)  # type: ignore[no-untyped-call]
    return out, distances


@contextmanager
def halved_once() -> Iterator[None]:
    """Within, frozen weights are converted to half precision once, not at every call: nothing may change them there.

    Calls that follow each other also keep one copy for their gradients. Nothing outlives the block, so that weights
    may be loaded or moved between, and a captured graph holds its own conversions.
    """
    token = _HALVED.set({})
    try:
        yield
    finally:
        _HALVED.reset(token)


def _halves(conv: nn.Conv2d, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """``x``, weight and bias in half precision, channels last.

    All three, or the way back copies its gradients from one layout to the other. The weight with zeros for channels
    that x has beyond it.
    """
    by_pixel = torch.channels_last
    extra = x.shape[1] - conv.in_channels
    known = _HALVED.get()
    halves = None if known is None else known.get((conv, dtype, extra))
    if halves is None:
        assert conv.bias is not None
        weight = F.pad(conv.weight, (0, 0, 0, 0, 0, extra)) if extra else conv.weight
        halves = weight.to(dtype, memory_format=by_pixel), conv.bias.to(dtype)
        if known is not None:
            known[conv, dtype, extra] = halves
    return x.to(dtype, memory_format=by_pixel), *halves
