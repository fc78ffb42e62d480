"""The Triton kernels against plain PyTorch: a program of its own, which prints errors by name as JSON.

On a machine without a GPU it sets TRITON_INTERPRET, so that the kernels run on the CPU; its conversions to half
precision cut off instead of rounding, hence float32. Not inside pytest: run-time type checks wrap every function of
the package, and what is wrapped cannot be compiled.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported, whose own functions heed it

import triton.language as tl
from triton.runtime import interpreter

from synhead.config import ModelConfig, preset
from synhead.geometry import fused_warp as fused_warp_module
from synhead.geometry import warp as plain_warp
from synhead.geometry.fused_resize import FusedMerge, FusedResize
from synhead.geometry.fused_sample import FusedSample
from synhead.geometry.fused_warp import fused_warp, merged
from synhead.inference.engine import EagerEngine
from synhead.inference.frame_graph import FrameGraph, source_tensors, to_pixels
from synhead.inference.prepared import fold, project_codes
from synhead.inference.triton_model import use_triton
from synhead.losses.features import TrunkConfig, random_trunk
from synhead.model import appearance_compensation
from synhead.model.talking_head import TalkingHead
from synhead.nn import blocks, conv, fused_bias, fused_norm, together
from synhead.nn import norm as norm_module
from synhead.nn.attention import MultiHeadAttention
from synhead.nn.blocks import Upsample
from synhead.nn.fast_conv import PhaseUpsample
from synhead.nn.fused_attention import NarrowAttention
from synhead.nn.fused_bias import AddBias, RectifiedConvolution
from synhead.nn.fused_distance import ComparedConvolution
from synhead.nn.fused_halves import DoubledPicture, HalvedPicture
from synhead.nn.fused_joined_norm import JoinedGroupNorm
from synhead.nn.fused_layer_norm import FusedLayerNorm
from synhead.nn.fused_modulation import modulated
from synhead.nn.fused_norm import FusedGroupNorm, GroupNormOptions
from synhead.nn.fused_phases import upsample
from synhead.nn.fused_pool import RectifiedPooledConvolution, maxima, spread_maxima
from synhead.nn.together import convolve_together
from synhead.nn.triton_attention import attend_narrow
from synhead.nn.triton_conv import Joined, convolve_flow, convolve_narrow, modulate_narrow, packed
from synhead.nn.triton_kernels import add_norm, add_table, join_phases, modulate
from synhead.nn.triton_norm import group_norm, group_norm_joined
from tests.inference.conftest import blobs
from tests.inference.test_fast import varied

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare_language_once() -> None:
    """Triton's interpreter exchanges its whole language at every call from one kernel function to another, and wraps
    what it exchanged before: most of the time of these cases. Once is enough where nothing is compiled.
    """
    exchange = interpreter._patch_lang
    exchange(SimpleNamespace(__globals__={"tl": tl, "core": tl.core}))
    nothing = SimpleNamespace(restore=lambda: None)
    interpreter._patch_lang = lambda _: nothing


def random(*shape: int) -> Tensor:
    """Fresh numbers, the same in every run."""
    return torch.randn(*shape, device=DEVICE)


def error(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest value."""
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    return float(((found - wanted).abs().max() / wanted.abs().max()).detach())


def warps() -> Iterator[tuple[str, float]]:
    """Flows that leave the picture too; one source for all; enlarged, reduced and equal flows."""
    grid, visibility = random(2, 16, 16, 2) * 0.8, torch.rand(2, 1, 16, 16, device=DEVICE)
    for side, channels in ((32, 24), (16, 8), (8, 5)):
        feature = random(1, channels, side, side).expand(2, -1, -1, -1)
        warped = plain_warp.warp(feature, grid)
        yield f"warp {side}", error(fused_warp(feature, grid), warped)
        yield f"occluded {side}", error(fused_warp(feature, grid, visibility), plain_warp.occlude(warped, visibility))
    feature = random(2, 24, 64, 64)
    index = plain_warp.taps(64, 16, grid)[0]
    wanted = plain_warp.sample(feature, plain_warp.tap_grid(grid, 64, 16))
    yield "taps", error(fused_warp(feature, grid, index=index), wanted)
    pixels, bias = random(2, 20, 32, 32), random(20)
    wanted = plain_warp.merge_taps(F.relu(pixels + bias[:, None, None]), 64, 16)
    shares = plain_warp.taps(64, 16, pixels)[1]
    yield "merged taps", error(merged(by_pixel(pixels), shares, bias).permute(0, 3, 1, 2), wanted)
    lost, feature = torch.full_like(grid, torch.nan), random(1, 8, 16, 16).expand(2, -1, -1, -1)
    yield "no numbers", float(fused_warp(feature, lost).isfinite().all())


def samples() -> Iterator[tuple[str, float]]:
    """With and without visibility, from and to other sizes, and all gradients."""
    for channels, side, size in ((5, 8, 16), (24, 32, 12)):
        feature = random(2, channels, side, side).requires_grad_()
        grid = (random(2, size, size, 2) * 0.8).requires_grad_()
        visibility = torch.rand(2, 1, size, size, device=DEVICE).requires_grad_()
        seed = random(2, channels, size, size)
        for name, visible in (("sample", None), ("occluded sample", visibility)):
            wanted = F.grid_sample(feature, grid, align_corners=True)
            wanted = wanted if visible is None else wanted * visible
            found = FusedSample.apply(feature, grid, visible)
            yield f"{name} {side}", error(found, wanted)
            leaves = (feature, grid) if visible is None else (feature, grid, visibility)
            ours, theirs = (
                torch.autograd.grad((out * seed).sum(), leaves, retain_graph=True) for out in (found, wanted)
            )
            for which, a, b in zip(("feature", "grid", "visibility"), ours, theirs, strict=False):
                yield f"{name} {side}, gradient of {which}", error(a, b)


def resizing() -> Iterator[tuple[str, float]]:
    """Larger, smaller and hardly changed, and from the pixels alone that a resize reads; all gradients."""
    for channels, side, size in ((5, 8, 16), (24, 16, 5), (8, 9, 10), (3, 4, 1)):
        x, seed = random(2, channels, side, side).requires_grad_(), random(2, channels, size, size)
        wanted = F.interpolate(x, size=(size, size), mode="bilinear", align_corners=True)
        found = FusedResize.apply(x, size)
        yield f"resize {side} to {size}", error(found, wanted)
        ours, theirs = (torch.autograd.grad((out * seed).sum(), x)[0] for out in (found, wanted))
        yield f"resize {side} to {size}, gradient", error(ours, theirs)
    pixels = random(2, 20, 16, 16).requires_grad_()
    wanted = plain_warp.merge_taps(pixels, 64, 8)
    found, seed = FusedMerge.apply(pixels, plain_warp.taps(64, 8, pixels)[1]), random(2, 20, 8, 8)
    yield "merge", error(found, wanted)
    ours, theirs = (torch.autograd.grad((out * seed).sum(), pixels)[0] for out in (found, wanted))
    yield "merge, gradient", error(ours, theirs)


def enlarging() -> Iterator[tuple[str, float]]:
    """By phases, and all gradients."""
    leaves = [part.requires_grad_() for part in (random(2, 12, 6, 5), random(8, 12, 3, 3), random(8))]
    wanted = F.conv2d(F.interpolate(leaves[0], scale_factor=2.0), leaves[1], leaves[2], padding=1)
    found, seed = upsample(*leaves), random(2, 8, 12, 10)
    yield "upsample", error(found, wanted)
    ours, theirs = (torch.autograd.grad((out * seed).sum(), leaves) for out in (found, wanted))
    for which, a, b in zip(("x", "weight", "bias"), ours, theirs, strict=True):
        yield f"upsample, gradient of {which}", error(a, b)


def row_norms() -> Iterator[tuple[str, float]]:
    """Widths that are no powers of two, rows that fill no part, and all gradients."""
    for width, rows in ((20, 1000), (96, 33)):
        norm = nn.LayerNorm(width, device=DEVICE)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        x, seed = (random(2, rows, width) + 3).requires_grad_(), random(2, rows, width)
        wanted, found = norm(x), FusedLayerNorm.apply(x, norm.weight, norm.bias, norm.eps)
        yield f"layer norm with gradients {width}", error(found, wanted)
        leaves = (x, norm.weight, norm.bias)
        ours, theirs = (torch.autograd.grad((out * seed).sum(), leaves) for out in (found, wanted))
        for which, a, b in zip(("x", "weight", "bias"), ours, theirs, strict=True):
            yield f"layer norm {width}, gradient of {which}", error(a, b)


def rectifying() -> Iterator[tuple[str, float]]:
    """A frozen convolution with its ReLU, and its input's gradient."""
    x, weight, bias = random(2, 3, 9, 8).requires_grad_(), random(5, 3, 3, 3), random(5)
    wanted, found = F.relu(F.conv2d(x, weight, bias, padding=1)), RectifiedConvolution.apply(x, weight, bias)
    yield "rectified convolution", error(found, wanted)
    ours, theirs = (torch.autograd.grad(out.square().sum(), x)[0] for out in (found, wanted))
    yield "rectified convolution, gradient", error(ours, theirs)


def layers() -> Iterator[tuple[str, float]]:
    """Layers that train by other means: odd channels filled up, halving without a padded copy, windows by rows."""
    odd = [conv.Conv2d(5, outputs, 3, padding=1, device=DEVICE) for outputs in (3, 12)]
    windows = appearance_compensation.PatchProjection(6, 4, 10).to(DEVICE)
    cases: dict[str, tuple[nn.Module, int, Callable[[Tensor], Tensor]]] = {
        "odd channels": (odd[0], 5, odd[0]),
        "odd channels together": (nn.ModuleList(odd), 5, lambda x: torch.cat(convolve_together(x, *odd), dim=1)),
        "downsample": (halving := blocks.Downsample(6).to(DEVICE), 6, halving),
        "windows": (windows, 6, lambda x: windows.to_feature(windows.to_tokens(x) ** 2)),
    }
    for name, (module, channels, forward) in cases.items():
        x = random(2, channels, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
        wanted = forward(x)
        with everywhere():
            found = forward(x)
        yield name, error(found, wanted)
        leaves = (x, *module.parameters())
        ours, theirs = (torch.autograd.grad(out.square().sum(), leaves) for out in (found, wanted))
        for which, a, b in zip(("x", *dict(module.named_parameters())), ours, theirs, strict=True):
            yield f"{name}, gradient of {which}", error(a, b)


def rows() -> Iterator[tuple[str, float]]:
    """Large kernels: rows of few inputs or outputs, and too few inputs for that; both precisions and layouts."""
    for dtype in (torch.float32, torch.float64):
        for inputs, outputs, side, padding in (
            (2, 5, 7, 3),
            (17, 13, 7, 0),
            (16, 8, 5, 2),
            (50, 3, 7, 3),
        ):
            yield from by_rows(conv.Conv2d(inputs, outputs, side, padding=padding, device=DEVICE, dtype=dtype))
        wide = conv.Conv2d(50, 17, (5, 7), padding=(1, 3), device=DEVICE, dtype=dtype)
        yield from by_rows(wide)
        yield from by_rows(conv.Conv2d(35, 3, (7, 5), padding=(5, 1), device=DEVICE, dtype=dtype))


def by_rows(layer: conv.Conv2d) -> Iterator[tuple[str, float]]:
    """Against PyTorch's own in the same precision; all gradients."""
    assert layer.bias is not None
    picture = random(2, layer.in_channels, 9, 12).to(layer.weight.dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = picture.contiguous(memory_format=layout).requires_grad_()
        wanted = layer(x)
        with everywhere():
            found = layer(x)
        name = f"rows {tuple(layer.weight.shape)} {layout} {x.dtype}"
        assert found.dtype == x.dtype
        yield name, error(found, wanted)
        leaves, seed = (x, layer.weight, layer.bias), random(*found.shape).to(x.dtype)
        ours, theirs = (torch.autograd.grad((out * seed).sum(), leaves) for out in (found, wanted))
        for which, a, b in zip(("x", "weight", "bias"), ours, theirs, strict=True):
            scale = 1e6 if x.dtype == torch.float64 and which != "bias" else 1  # a bias's gradient is summed in float32
            yield f"{name}, gradient of {which}", error(a, b) * scale


def pooling() -> Iterator[tuple[str, float]]:
    """Maxima of odd and even sizes with ties, NaNs and negative windows; after a frozen convolution; a whole trunk."""
    for channels, height, width in ((5, 7, 9), (16, 8, 6), (70, 6, 5)):
        picture = (random(2, channels, height, width) * 2).round()
        picture[torch.rand_like(picture) < 0.1] = torch.nan
        leaf = picture.clone().requires_grad_()
        wanted = F.max_pool2d(F.relu(leaf), 2)
        seed = random(*wanted.shape).contiguous(memory_format=torch.channels_last)
        rectified = F.relu(picture).contiguous(memory_format=torch.channels_last)
        out, places = maxima(rectified, places=True)
        assert places is not None
        yield f"maxima {channels}", error(out.nan_to_num(9.0), wanted.nan_to_num(9.0))
        ours, theirs = spread_maxima(seed, places, height, width), torch.autograd.grad((wanted * seed).sum(), leaf)[0]
        yield f"maxima {channels}, gradient", error(ours, theirs)
        yield (
            f"maxima without places {channels}",
            error(maxima(rectified, places=False)[0].nan_to_num(9.0), out.nan_to_num(9.0)),
        )
    x, weight, bias = random(2, 3, 9, 8).requires_grad_(), random(5, 3, 3, 3), random(5)
    wanted = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=1)), 2)
    found = RectifiedPooledConvolution.apply(x, weight, bias)
    yield "pooled convolution", error(found, wanted)
    ours, theirs = (torch.autograd.grad(out.square().sum(), x)[0] for out in (found, wanted))
    yield "pooled convolution, gradient", error(ours, theirs)
    yield from trunks()


def halves() -> Iterator[tuple[str, float]]:
    """2 x 2 means and pixels repeated; channels beside and above powers of two, gradients in either layout."""
    for channels, height, width in ((5, 6, 4), (16, 2, 10), (1030, 4, 2)):
        leaf = random(3, channels, height, width).requires_grad_()
        doubled = F.interpolate(leaf, scale_factor=2.0, mode="nearest")
        for name, wanted, found in (
            ("halved", F.avg_pool2d(leaf, 2), HalvedPicture.apply(leaf)),
            ("doubled", doubled, DoubledPicture.apply(leaf)),
        ):
            yield f"{name} {channels}", error(found, wanted)
            for layout in (torch.contiguous_format, torch.channels_last):
                seed = random(*wanted.shape).contiguous(memory_format=layout)
                ours, theirs = (torch.autograd.grad(out, leaf, seed, retain_graph=True)[0] for out in (found, wanted))
                yield f"{name} {channels}, gradient {layout}", error(ours, theirs)


def trunks() -> Iterator[tuple[str, float]]:
    """Stages whose one ReLU is both a feature and the maximum's input, and stages with more; both layouts."""
    trunk = random_trunk(TrunkConfig(widths=(8, 12, 16, 8, 8), depths=(2, 1, 3, 1, 1))).to(DEVICE)
    for layer in trunk.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.bias)
    picture = random(2, 3, 37, 42)
    with torch.no_grad():
        targets = trunk(random(1, 3, 37, 42))
    for name, layout in (("by colour", torch.contiguous_format), ("by pixel", torch.channels_last)):
        found = []
        for kernels in (False, True):
            leaf = picture.to(memory_format=layout).requires_grad_()  # type: ignore[call-overload]
            with everywhere() if kernels else nullcontext(), conv.halved_once():
                features = trunk(leaf * 1)
                values = trunk.distances(leaf * 1, targets)
            total = sum(part.square().mean() for part in features) + torch.stack(values).square().sum()
            found.append(((*features, *values), torch.autograd.grad(total, leaf)[0]))
        (plain, wanted), (fused, ours) = found
        for index, (a, b) in enumerate(zip(fused, plain, strict=True)):
            yield f"trunk {name}, {'features' if a.ndim > 1 else 'distances'} {index}", error(a, b)
        yield f"trunk {name}, gradient", error(ours, wanted)


def training() -> Iterator[tuple[str, float]]:
    """A whole training pass in float32 on all kernels: pictures, and the gradient of every parameter."""
    config = replace(preset("tiny"), blend=True, norm_groups=2)
    model = varied(config).to(DEVICE).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    torch.manual_seed(1)  # pictures by which no rectifier's input is zero but for rounding
    images = [torch.rand(2, 3, 64, 64, device=DEVICE) * 2 - 1 for _ in range(3)]
    found = []
    for kernels in (False, True):
        with everywhere() if kernels else nullcontext():
            out = model(*images)
            loss = sum(image.square().mean() for image in (out.animation.image, out.low_resolution))
            loss = loss + sum(coding.reconstruction_px.square().mean() for coding in out.motion_codes)
            found.append((out.animation.image, torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)))
    (plain, wanted), (fused, ours) = found
    yield "training, picture", error(fused, plain)
    largest = max(float(gradient.abs().max()) for gradient in wanted if gradient is not None)
    for (name, _), a, b in zip(model.named_parameters(), ours, wanted, strict=True):
        if b is not None and float(b.abs().max()) > 1e-6 * largest:  # else zero but for rounding
            yield f"training, gradient of {name}", error(a, b)


@contextmanager
def everywhere() -> Iterator[None]:
    """The kernels with gradients, in float32 and however small the pictures."""
    with ExitStack() as stack:
        for module in (conv, norm_module):
            stack.enter_context(patch.object(module, "half_kernels", lambda x: x.dtype))
        stack.enter_context(patch.object(together, "takes_kernels", lambda _: True))
        stack.enter_context(patch.object(blocks, "takes_kernels", lambda _: True))
        for module in (conv, blocks):
            stack.enter_context(patch.object(module, "_LARGE", 0))
        stack.enter_context(large_tiles())
        for name in ("_trains_fused", "_trains_half"):
            stack.enter_context(patch.object(plain_warp, name, lambda *_: True))
        yield


@contextmanager
def large_tiles() -> Iterator[None]:
    """For whole models: interpreting costs by the programs, not by their values. Single kernels have real tiles."""
    with ExitStack() as stack:
        if DEVICE.type == "cpu":
            for module in (fused_bias, fused_norm, fused_warp_module):
                stack.enter_context(patch.object(module, "_TILE", 1 << 14))
            stack.enter_context(patch.object(fused_norm, "_SUMMED", 1 << 14))
        yield


def distances() -> Iterator[tuple[str, float]]:
    """Of one set and of two from one, behind a frozen convolution, read on by a next layer or not, in both layouts.

    Values equal to their targets and closed rectifiers have no gradient; nor has a target.
    """
    weight, bias = random(5, 3, 3, 3), random(5)
    for sets, layout in ((1, torch.channels_last), (2, torch.channels_last), (2, torch.contiguous_format)):
        x = random(3 * sets, 3, 37, 11).to(memory_format=layout).requires_grad_()  # type: ignore[call-overload]
        plain = F.relu(F.conv2d(x, weight, bias, padding=1))
        target, seed = random(3, 5, 37, 11).relu().to(memory_format=layout), random(*plain.shape)  # type: ignore[call-overload]
        target[0, 0] = plain[0, 0].detach()
        means = (plain.unflatten(0, (sets, 3)) - target).abs().mean(dim=(1, 2, 3, 4))
        out, ours = ComparedConvolution.apply(x, weight, bias, target)
        name = f"distances of {sets}, {layout}"
        yield name, error(ours, means)
        yield f"{name}, features", error(out, plain)
        for read in ("distances", "features", "distances, features"):
            given = []
            for features, values in ((out, ours), (plain, means)):
                parts = {"distances": values.square().sum(), "features": (features * seed).sum() * 1e-3}
                total = torch.stack([part for which, part in parts.items() if which in read]).sum()
                given.append(torch.autograd.grad(total, x, retain_graph=True)[0])
            yield f"{name}, gradient through {read}", error(*given)


def norms() -> Iterator[tuple[str, float]]:
    """Widths that are no powers of two, with and without a bias before, groups of one and of several channels."""
    for channels, groups, side in ((8, 8, 16), (96, 16, 12), (160, 8, 8)):
        norm = nn.GroupNorm(groups, channels, eps=1e-6, device=DEVICE)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        x = random(2, channels, side, side).contiguous(memory_format=torch.channels_last)
        bias = random(channels)
        wanted = norm(x + bias[:, None, None])
        yield f"group norm {channels}", error(group_norm(norm, x, swish=False, before=bias), wanted)
        yield f"group norm swish {channels}", error(group_norm(norm, x, swish=True), F.silu(norm(x)))
        yield (
            f"over its input {channels}",
            error(group_norm(norm, x.clone(), swish=True, inplace=True), F.silu(norm(x))),
        )
        yield from gradients(norm, x)
        yield from handed_through(norm, x)
        left, right = x.chunk(2, dim=1)
        parts = [part.contiguous(memory_format=torch.channels_last) for part in (left, right)]
        yield f"group norm of parts {channels}", error(group_norm_joined(norm, parts, swish=True), F.silu(norm(x)))
    layer = nn.LayerNorm(48, device=DEVICE)
    nn.init.normal_(layer.weight)
    tokens, update, bias = random(2, 10, 48), random(2, 10, 48), random(48)
    total, normed = add_norm((layer.weight, layer.bias, layer.eps), tokens, (update, bias))
    yield "sum before a layer norm", error(total, tokens + update + bias)
    yield "layer norm", error(normed, layer(tokens + update + bias))
    yield "layer norm alone", error(add_norm((layer.weight, layer.bias, layer.eps), tokens)[1], layer(tokens))


def gradients(norm: nn.GroupNorm, x: Tensor) -> Iterator[tuple[str, float]]:
    """Of the input, the weight and the bias."""
    seed = random(*x.shape)
    options = GroupNormOptions(norm.num_groups, norm.eps, swish=True)
    found, wanted = (
        torch.autograd.grad((out * seed).sum(), (leaf, norm.weight, norm.bias))
        for leaf in [x.clone().requires_grad_()]
        for out in (
            FusedGroupNorm.apply(leaf, norm.weight, norm.bias, None, options),
            F.silu(norm(leaf)),
        )
    )
    for name, a, b in zip(("x", "weight", "bias"), found, wanted, strict=True):
        yield f"gradient of {name} {x.shape[1]}", error(a, b)
    before = random(x.shape[1]).requires_grad_()
    leaf = x.clone().requires_grad_()
    wanted_out = F.silu(norm(leaf + before[:, None, None]))
    found_out = FusedGroupNorm.apply(leaf, norm.weight, norm.bias, before, options)
    yield f"group norm with a bias before {x.shape[1]}", error(found_out, wanted_out)
    leaves = (leaf, norm.weight, norm.bias, before)
    found, wanted = (torch.autograd.grad((out * seed).sum(), leaves) for out in (found_out, wanted_out))
    for name, a, b in zip(("x", "weight", "bias", "before"), found, wanted, strict=True):
        if name == "before" and norm.num_groups == x.shape[1]:
            continue  # zero but for rounding: the norm takes out any constant of a channel
        yield f"gradient of {name}, biased {x.shape[1]}", error(a, b)


def handed_through(norm: nn.GroupNorm, x: Tensor) -> Iterator[tuple[str, float]]:
    """Two readers of x, whose gradient lies as the norm does, by colour or between others; one reader alone."""
    leaf, channels = x.clone().requires_grad_(), x.shape[1]
    seed, by_colour = random(*x.shape), random(*x.shape)
    seeds = random(2, 3 + channels, *x.shape[2:]).contiguous(memory_format=torch.channels_last)
    leaves = (leaf, norm.weight, norm.bias)
    readers: dict[str, Callable[[Tensor], Tensor]] = {
        "by pixel": lambda part: part.square(),
        "by colour": lambda part: part * by_colour,
        "sum": lambda part: part.sum(),
        "between others": lambda part: torch.cat([x[:, :3], part], dim=1) * seeds,
    }
    for swish in (True, False) if channels == 96 else (True,):
        options = GroupNormOptions(norm.num_groups, norm.eps, swish, through=True)
        wanted_out = F.silu(norm(leaf)) if swish else norm(leaf)
        found_out, through = FusedGroupNorm.apply(leaf, norm.weight, norm.bias, None, options)
        yield f"handed through {channels} {swish}", error(through, x)
        for name, reader in readers.items():
            found, wanted = (
                torch.autograd.grad((out * seed).sum() + reader(read).sum(), leaves, retain_graph=True)
                for out, read in ((found_out, through), (wanted_out, leaf))
            )
            for which, a, b in zip(("x", "weight", "bias"), found, wanted, strict=True):
                yield f"handed through {channels} {swish}, {name}, gradient of {which}", error(a, b)
        for name, found_loss, wanted_loss in (
            ("norm alone", (found_out * seed).sum(), (wanted_out * seed).sum()),
            ("through alone", (through * seed).sum(), (leaf * seed).sum()),
        ):
            found, wanted = (
                torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in (found_loss, wanted_loss)
            )
            yield f"handed through {channels} {swish}, {name}, gradient of x", error(found, wanted)


def biases() -> Iterator[tuple[str, float]]:
    """With sums and activations, and all gradients; rows that fill no part."""
    for channels, side in ((20, 37), (64, 16)):
        base, bias, other = random(3, channels, side, side), random(channels), random(3, channels, side, side)
        base = base.contiguous(memory_format=torch.channels_last)
        leaves = [part.clone().requires_grad_() for part in (base, bias, other)]
        x, b, o = leaves
        plain = x + b[:, None, None]
        for name, activation, wanted in (
            ("none", "none", plain),
            ("relu", "relu", F.relu(plain)),
            ("leaky", "leaky", F.leaky_relu(plain, 0.2)),
            ("sum", "none", plain + o),
            ("two sums", "none", plain + o + o.flip(0)),
        ):
            others = {"sum": (o,), "two sums": (o, o.flip(0))}.get(name, ())
            found = AddBias.apply(x * 1, b, activation, *others)
            yield f"bias {name} {channels}", error(found, wanted)
            used = leaves if others else leaves[:2]
            ours, theirs = (torch.autograd.grad(out.square().sum(), used, retain_graph=True) for out in (found, wanted))
            for which, g, h in zip("xbo", ours, theirs, strict=False):
                yield f"bias {name} {channels}, gradient of {which}", error(g, h)
        beside = random(3, 7, side, side).contiguous(memory_format=torch.channels_last)  # the gradient lies between
        seed = random(3, 7 + channels, side, side).contiguous(memory_format=torch.channels_last)
        ours, theirs = (
            torch.autograd.grad((torch.cat([beside, out], dim=1) * seed).sum(), (x, b))
            for out in (AddBias.apply(x * 1, b, "relu"), F.relu(x + b[:, None, None]))
        )
        for which, g, h in zip("xb", ours, theirs, strict=True):
            yield f"bias between others {channels}, gradient of {which}", error(g, h)


def joined_norms() -> Iterator[tuple[str, float]]:
    """Of two pictures side by side, and all gradients; sides that fill no part, pictures one pixel wide."""
    for channels, groups, sides in ((4, 8, (16, 9)), (20, 8, (13, 31)), (64, 16, (12, 12)), (6, 4, (40, 1))):
        norm = nn.GroupNorm(groups, 2 * channels, eps=1e-6, device=DEVICE)
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        left, right = ((random(2, channels, *sides) + i).requires_grad_() for i in range(2))
        seed = random(2, 2 * channels, *sides)
        for swish in (True, False):
            name = f"joined norm {channels} {swish}"
            plain = norm(torch.cat([left, right], dim=1))
            wanted = F.silu(plain) if swish else plain
            options = GroupNormOptions(groups, norm.eps, swish)
            found = JoinedGroupNorm.apply(left, right, norm.weight, norm.bias, options)
            yield name, error(found, wanted)
            leaves = (left, right, norm.weight, norm.bias)
            ours, theirs = (
                torch.autograd.grad((out * seed).sum(), leaves, retain_graph=True) for out in (found, wanted)
            )
            for which, a, b in zip(("left", "right", "weight", "bias"), ours, theirs, strict=True):
                yield f"{name}, gradient of {which}", error(a, b)
            found, *handed = JoinedGroupNorm.apply(*leaves, options._replace(through=True))
            for used in ((0, 1), (0,), (1,)) if swish else ((0, 1),):
                ours, theirs = (
                    torch.autograd.grad(
                        (out * seed).sum() + sum(halves[i].square().sum() for i in used), leaves, retain_graph=True
                    )
                    for out, halves in ((found, handed), (wanted, (left, right)))
                )
                for which, a, b in zip(("left", "right", "weight", "bias"), ours, theirs, strict=True):
                    yield f"{name}, through {used}, gradient of {which}", error(a, b)


def modulation_gradients() -> Iterator[tuple[str, float]]:
    """With and without a weight and an addition, and all gradients; rows that fill no part."""
    for channels, side, weight in ((20, 37, 1.0), (64, 16, 0.7), (8, 70, 1.0)):
        leaves = [random(3, channels, side, side).requires_grad_() for _ in range(4)]
        biases, seed = random(2, channels).requires_grad_(), random(3, channels, side, side)
        x, scale, shift, extra = leaves
        a, b = biases[:, :, None, None]
        plain = x + weight * (x * (scale + a) + shift + b)
        for name, wanted in (("modulation", plain), ("modulation and addition", plain + extra)):
            adds = name != "modulation"
            found = modulated(x, (scale * 1, shift * 1, extra * 1 if adds else None), biases, weight)
            yield f"{name} with gradients {channels}", error(found, wanted)
            used = (x, scale, shift, biases, *([extra] if adds else []))
            ours, theirs = (torch.autograd.grad((out * seed).sum(), used, retain_graph=True) for out in (found, wanted))
            for which, g, h in zip(("x", "scale", "shift", "biases", "extra"), ours, theirs, strict=False):
                yield f"{name} {channels}, gradient of {which}", error(g, h)


def pointwise() -> Iterator[tuple[str, float]]:
    """Biases, positions, activations, sums, modulation and phases."""
    activations: dict[str, Callable[[Tensor], Tensor]] = {
        "none": lambda x: x,
        "relu": F.relu,
        "leaky": lambda x: F.leaky_relu(x, 0.2),
        "gelu": F.gelu,
    }
    for width in (20, 96, 5000):
        x, table, other = random(3, 7, width), random(width), random(3, 7, width)
        for name, activation in activations.items():
            found = add_table(x.clone(), table, activation=name, other=other)  # type: ignore[arg-type]
            yield f"{name} {width}", error(found, activation(x + table) + other)
        found = add_table(x.clone(), table, other=other, second=other.flip(0))
        yield f"two sums {width}", error(found, x + table + other + other.flip(0))
    x, scale, shift, extra = (random(2, 9, 40) for _ in range(4))
    a, b = random(40), random(40)
    wanted = x + 0.7 * (x * (scale + a) + shift + b)
    yield "modulation", error(modulate(x, (scale, a), (shift.clone(), b), 0.7), wanted)
    yield "modulation and sum", error(modulate(x, (scale, a), (shift.clone(), b), 0.7, extra), wanted + extra)
    enlarge = PhaseUpsample(Upsample(12)).to(DEVICE)
    picture = random(2, 12, 6, 5)
    phases = F.conv2d(picture, enlarge.weight, None, padding=1).permute(0, 2, 3, 1).contiguous()
    yield "phases", error(join_phases(phases, enlarge.bias[:12]).permute(0, 3, 1, 2), enlarge(picture))
    rectified = join_phases(phases, enlarge.bias[:12], "relu").permute(0, 3, 1, 2)
    yield "rectified phases", error(rectified, F.relu(enlarge(picture)))


def by_pixel(picture: Tensor) -> Tensor:
    """(b h w c) without gaps."""
    return picture.permute(0, 2, 3, 1).contiguous()


def attention() -> Iterator[tuple[str, float]]:
    """Narrow heads and one wide one, lengths that fill no tile, contexts of an item and of all, ignored keys."""
    for width, queries, keys in ((4, 70, 33), (8, 128, 64), (16, 65, 200), (24, 40, 130), (32, 128, 128), (48, 9, 7)):
        packed_heads = random(2, max(queries, keys), 3, 3, width)
        query, key, value = packed_heads.permute(2, 0, 3, 1, 4)
        query, key, value = query[:, :, :queries], key[:, :, :keys], value[:, :, :keys]
        ignored = torch.rand(2, keys, device=DEVICE) < 0.5
        ignored[0, : max(keys - 5, 1)] = True  # whole tiles of it
        ignored[:, -1] = False
        for name, k, v, mask in (
            ("own", key, value, None),
            ("masked", key, value, ignored),
            ("one", *shared(key), None),
        ):
            allowed = None if mask is None else ~mask[:, None, None, :]
            wanted = F.scaled_dot_product_attention(query, k.expand_as(key), v.expand_as(value), allowed)
            found = attend_narrow(query, k, v, width**-0.5, mask)
            yield f"attention {name} {width}", error(found, wanted.transpose(1, 2).flatten(2))


def shared(key: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of all items, not laid out alike."""
    return key[:1], key[1:].contiguous()


def attention_gradients() -> Iterator[tuple[str, float]]:
    """Over tokens themselves, with and without ignored keys, and over a context of one item and of several."""
    for width, tokens in ((4, 70), (8, 128), (16, 72), (24, 65), (32, 130)):
        wide, lost = 3 * width, torch.rand(2, tokens, device=DEVICE) < 0.5
        lost[0, : tokens - 5] = True  # whole tiles of it
        lost[:, -1] = False
        for name, ignored in (("own", None), ("masked", lost)):
            parts = random(2, tokens, 2 * wide)
            if ignored is not None:
                parts[..., wide:][ignored] *= 100  # what is ignored is beyond the range of exponentials
            packed, value = parts.requires_grad_(), random(2, tokens, wide).requires_grad_()
            query, key, values = (heads(part) for part in (*packed.chunk(2, dim=-1), value))
            wanted = joined_attention(query, key, values, ignored)
            found = NarrowAttention.apply(packed, None, value, 3, ignored)
            yield from compared(f"attention with gradients {name} {width}", found, wanted, (packed, value))
        for batch in (1, 3):
            query, context = (
                random(*size).requires_grad_() for size in ((batch, tokens, wide), (tokens + 99, 2 * wide))
            )
            key, values = (heads(part[None])[0, :, 3 : tokens + 40] for part in context.chunk(2, dim=-1))
            wanted = joined_attention(heads(query), key.expand(batch, -1, -1, -1), values.expand(batch, -1, -1, -1))
            found = NarrowAttention.apply(query, key, values, 3, None)
            yield from compared(f"attention with gradients one {width} {batch}", found, wanted, (query, context))


def heads(x: Tensor) -> Tensor:
    """Three of them."""
    return rearrange(x, "b n (h d) -> b h n d", h=3)


def joined_attention(query: Tensor, key: Tensor, value: Tensor, ignored: Tensor | None = None) -> Tensor:
    """PyTorch's."""
    mask = None if ignored is None else ~ignored[:, None, None, :]
    return F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


def compared(name: str, found: Tensor, wanted: Tensor, leaves: tuple[Tensor, ...]) -> Iterator[tuple[str, float]]:
    """Values and gradients."""
    yield name, error(found, wanted)
    seed = random(*found.shape)
    ours, theirs = (torch.autograd.grad((out * seed).sum(), leaves, retain_graph=True) for out in (found, wanted))
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        yield f"{name}, gradient {i}", error(a, b)


def retrieving() -> Iterator[tuple[str, float]]:
    """Whole attentions with narrow and wide heads: inputs, positions, codes and weights have their gradients."""
    for width in (16, 80):
        module = MultiHeadAttention(width, 2).to(DEVICE)
        nn.init.normal_(module.in_proj.bias)
        tokens, position, codes = (random(*shape, width).requires_grad_() for shape in ((3, 9), (9,), (11,)))
        ignored = torch.zeros(3, 9, dtype=torch.bool, device=DEVICE)
        ignored[1, 2:5] = True
        leaves = (tokens, position, codes, *module.parameters())
        results = []
        for kernels in (False, True):
            with everywhere() if kernels else nullcontext():
                key, value = (part[:, 1:9] for part in module.memory(codes))
                own = module.self_attend(tokens, position, ignored)
                results.append(own * module.cross_attend(tokens, position, key, value))
        yield from compared(f"retrieval {width}", results[1], results[0], leaves)


def convolutions() -> Iterator[tuple[str, float]]:
    """Sizes that fill no tile; with and without a sum, products, activations."""
    for inputs, outputs, height, width in ((16, 32, 9, 40), (32, 16, 5, 33), (32, 64, 4, 32)):
        x, weight, bias = random(2, inputs, height, width), random(outputs, inputs, 3, 3) * 0.1, random(outputs)
        plain = F.conv2d(x, weight, bias, padding=1)
        found = convolve_narrow(by_pixel(x), packed(weight), bias, activation="leaky")
        yield f"narrow {inputs}", error(found, by_pixel(F.leaky_relu(plain, 0.2)))
        other = random(2, height, width, outputs)
        found = convolve_narrow(by_pixel(x), packed(weight), bias, other=other)
        yield f"narrow and sum {inputs}", error(found, by_pixel(plain) + other)
        joined = tuple(Joined(random(2, height, width, a), random(a, outputs)) for a in (16, 32))
        found = convolve_narrow(by_pixel(x), packed(weight), bias, joined=joined)
        wanted = by_pixel(plain) + sum(part.values @ part.weight for part in joined)
        yield f"narrow and products {inputs}", error(found, wanted)
    x, compensated, hidden = random(2, 16, 9, 40), random(2, 16, 9, 40), random(2, 32, 9, 40)
    scale, shift, addition = (random(16, 16, 3, 3) * 0.1 for _ in range(3))
    a, b = random(16), random(16)
    wanted = x + 0.7 * x * F.conv2d(hidden[:, :16], scale, a, padding=1)
    wanted = wanted + F.conv2d(hidden[:, 16:], shift, b, padding=1) + F.conv2d(compensated, addition, padding=1)
    weights = torch.stack([packed(scale), packed(shift), packed(addition)])
    found = modulate_narrow(by_pixel(x), by_pixel(hidden), by_pixel(compensated), weights, (a, b), 0.7)
    yield "narrow modulation", error(found, by_pixel(wanted))
    for side, outputs in ((3, 32), (7, 56)):
        flow, weight, bias = random(2, 9, 12, 2), random(outputs, 2, side, side), random(outputs)
        flow = flow.permute(0, 3, 1, 2)
        wide = F.pad(packed(weight), (0, 64 - outputs, 0, -2 * side * side % 32))
        found = convolve_flow(flow, wide, bias, side, "relu")
        yield f"flow {side}", error(found, by_pixel(F.relu(F.conv2d(flow, weight, bias, padding=side // 2))))


def whole() -> Iterator[tuple[str, float]]:
    """Largest difference of whole pictures in levels of 255: published, and blending with wider parts."""
    tiny = preset("tiny")
    motion = replace(tiny.motion, heads=4, refine_width=20)
    blending = replace(tiny, blend=True, feature_widths=(96, 64, 32, 32), motion=motion)
    for name, config in (("published", tiny), ("blending", blending)):
        yield f"picture {name}", levels(config)


def levels(config: ModelConfig) -> float:
    """A model on the kernels in float32 against the plain one."""
    model = varied(config).to(DEVICE)
    eager = EagerEngine(model)
    source, driving = eager.observe(blobs(0)), eager.keypoints([blobs(1)])
    wanted = torch.from_numpy(eager.render(source, driving)).int()
    fused = on_kernels(model)
    graph = FrameGraph(fused, project_codes(model, torch.float32, padded=True))
    with torch.inference_mode(), large_tiles():
        image = graph(driving.position, driving.jacobian, source_tensors(source, config))
    return float((to_pixels(image).cpu().int() - wanted).abs().max())


def on_kernels(model: TalkingHead) -> TalkingHead:
    """As the half-precision model is prepared, but for the precision."""
    fused = fold(model)
    for parent in list(fused.decoder.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Upsample):
                setattr(parent, name, PhaseUpsample(child))
    fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    use_triton(fused)
    return fused


if __name__ == "__main__":
    torch.manual_seed(0)
    if DEVICE.type == "cpu":
        prepare_language_once()
    with torch.no_grad():
        found = dict([*warps(), *pointwise(), *attention(), *convolutions()])
    groups = (norms, joined_norms, biases, samples, distances, resizing, enlarging, row_norms, rectifying, layers)
    for cases in (*groups, rows, modulation_gradients, pooling, halves, attention_gradients, retrieving):
        found |= dict(cases())
    found |= dict(training())
    found |= dict(whole()) if "--kernels" not in sys.argv else {}
    print(json.dumps(found))  # noqa: T201 - the parent reads it
