"""Islands of full precision inside mixed-precision code: coordinates and softmaxes of keypoints, VQ distances."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)


def full_precision(like: Tensor) -> AbstractContextManager[None]:
    """Autocast off on the device of ``like``; inputs are to be converted with :func:`upcast`."""
    if like.device.type == "meta":  # shapes and costs only
        return nullcontext()
    return torch.autocast(like.device.type, enabled=False)


def upcast(tensor: Tensor) -> Tensor:
    """Half precision to float32; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in HALF else tensor


def autocast_dtype(tensor: Tensor) -> torch.dtype:
    """The type in which a convolution would take ``tensor``: autocast's where it is on, else the tensor's own."""
    kind = tensor.device.type
    if kind in ("cuda", "cpu") and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return tensor.dtype
