"""Augmentation of whole batches on the device that trains: flip, colour and crop jitter, equal for both frames.

The random numbers are turned into small matrices on the CPU (numpy, microseconds); the pixels see three steps at most:
a mirror, one colour matrix, one affine resampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from torch import Tensor

from synhead.data.config import ColourJitter, CropJitter, DataConfig
from synhead.data.draws import Draw, Uniforms
from synhead.types import NDArray

_LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([_LUMA, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True, slots=True)
class AugmentPlan:
    """What to do with each pair. ``colour``: RGB' = colour[:, :3] RGB + colour[:, 3] in [-1, 1]; ``crop``: affine
    matrix from output to input positions in [-1, 1]; None where the configuration never does it.
    """

    flip: Bool[NDArray[np.bool_], " b"]
    colour: Float32[NDArray[np.float32], "b 3 4"] | None
    crop: Float32[NDArray[np.float32], "b 2 3"] | None


def plan_augmentation(uniform: Uniforms, config: DataConfig) -> AugmentPlan:
    """Matrices of each pair from its uniform numbers."""
    return AugmentPlan(
        flip=uniform[:, Draw.FLIP] < config.flip_probability,
        colour=colour_matrices(uniform, config.colour) if config.colour.probability > 0 else None,
        crop=crop_matrices(uniform, config.crop) if config.crop.probability > 0 else None,
    )


def _spread(uniform: Uniforms, column: Draw, extent: float) -> Float64[NDArray[np.float64], " b"]:
    """Uniform in [-extent, extent]."""
    return extent * (2.0 * uniform[:, column] - 1.0)


def colour_matrices(uniform: Uniforms, config: ColourJitter) -> Float32[NDArray[np.float32], "b 3 4"]:
    """Brightness, contrast, saturation and hue as one affine map of RGB in [-1, 1].

    All four keep grey grey, so the factors of brightness f and contrast c scale the rest, and the offset is
    c (f - 1) on each channel: brightness multiplies (x + 1), contrast scales about mid grey, x = 0.
    """
    active = uniform[:, Draw.COLOUR] < config.probability
    bright = 1.0 + active * _spread(uniform, Draw.BRIGHTNESS, config.brightness)
    contrast = 1.0 + active * _spread(uniform, Draw.CONTRAST, config.contrast)
    saturation = 1.0 + active * _spread(uniform, Draw.SATURATION, config.saturation)
    turn = active * _spread(uniform, Draw.HUE, 2.0 * np.pi * config.hue)
    chroma = np.zeros((len(uniform), 3, 3))
    chroma[:, 0, 0] = 1.0
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(turn)
    chroma[:, 2, 1] = saturation * np.sin(turn)
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    linear = _YIQ_TO_RGB @ chroma @ _RGB_TO_YIQ * (contrast * bright)[:, None, None]
    offset = np.broadcast_to((contrast * (bright - 1.0))[:, None, None], (len(uniform), 3, 1))
    matrices: NDArray[Any] = np.concatenate([linear, offset], axis=2).astype(np.float32)
    return matrices


def crop_matrices(uniform: Uniforms, config: CropJitter) -> Float32[NDArray[np.float32], "b 2 3"]:
    """Similarity from output to input positions: scale s <= 1, a shift within the 1 - s this leaves, a rotation."""
    active = uniform[:, Draw.CROP] < config.probability
    scale = 1.0 - active * (1.0 - config.min_scale) * uniform[:, Draw.SCALE]
    room = (1.0 - scale) * config.shift
    angle = active * _spread(uniform, Draw.ROTATION, np.deg2rad(config.rotation_deg))
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    x, y = room * _spread(uniform, Draw.SHIFT_X, 1.0), room * _spread(uniform, Draw.SHIFT_Y, 1.0)
    matrices: NDArray[Any] = np.stack([cos, -sin, x, sin, cos, y], axis=1).reshape(-1, 2, 3).astype(np.float32)
    return matrices


def to_image(frames: UInt8[Tensor, "n h w 3"]) -> Float32[Tensor, "n 3 h w"]:
    """8-bit RGB to [-1, 1]: (x / 255 - 0.5) / 0.5 (spec D)."""
    image = frames.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return image.div_(127.5).sub_(1.0)


def augment(
    frames: UInt8[Tensor, "n h w 3"],
    flip: Bool[Tensor, " n"],
    colour: Float[Tensor, "n 3 4"] | None,
    crop: Float[Tensor, "n 2 3"] | None,
) -> Float32[Tensor, "n 3 h w"]:
    """Decoded frames to augmented images in [-1, 1]: mirror, then colour, then crop. Runs where the frames are."""
    frames = torch.where(flip[:, None, None, None], frames.flip(2), frames)
    image = to_image(frames)
    with torch.autocast(image.device.type, enabled=False):
        if colour is not None:
            image = _apply_colour(image, colour)
        if crop is not None:
            grid = F.affine_grid(crop.float(), list(image.shape), align_corners=False)
            image = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return image


def _apply_colour(image: Float32[Tensor, "n 3 h w"], colour: Float[Tensor, "n 3 4"]) -> Float32[Tensor, "n 3 h w"]:
    """Written out per channel: a matrix product could run in TF32, coarser than the 8 bits of the frames."""
    weight = colour[:, :, :, None, None]
    result = weight[:, :, 3] + weight[:, :, 0] * image[:, 0:1]
    for channel in (1, 2):
        result = torch.addcmul(result, weight[:, :, channel], image[:, channel : channel + 1])
    return result.clamp_(-1.0, 1.0)
