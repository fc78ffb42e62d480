"""Blocks on the Triton kernels: what the plain ones give, up to rounding. Half precision, inference only.

Pictures are channels last throughout; :func:`rows` shows one as (b h w c) without copying, :func:`picture` undoes it.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
import torch.nn.functional as F
import triton
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from synhead.geometry.triton_there import rectifies
from synhead.nn.blocks import AttentionBlock, ResBlock
from synhead.nn.conv import unbiased as plainly_unbiased
from synhead.nn.triton_conv import Joined, convolve_flow, convolve_narrow, is_narrow, packed
from synhead.nn.triton_kernels import Activation, add_table, join_phases
from synhead.nn.triton_norm import group_norm, group_norm_joined

_JOINED = (16, 32, 64)  # widths of a shortcut that a narrow convolution takes in


def rows(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w c"]:
    """A picture as its pixels lie in memory; copied if it is not channels last."""
    return rearrange(x.contiguous(memory_format=torch.channels_last), "b c h w -> b h w c")


def picture(x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b c h w"]:
    """The view that convolutions take."""
    return rearrange(x, "b h w c -> b c h w")


def unbiased(conv: nn.Conv2d, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
    """The convolution without its bias, in the type of its weights."""
    return plainly_unbiased(conv, x.to(conv.weight.dtype))


class BiasedConv2d(nn.Module):
    """A convolution, its bias and an activation in one pass; those with a ReLU are one kernel of cuDNN's."""

    def __init__(self, plain: nn.Conv2d, activation: Activation = "none") -> None:
        super().__init__()
        assert plain.bias is not None
        self.plain, self.activation = plain, activation

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        plain = self.plain
        assert plain.bias is not None
        if self.activation == "relu" and rectifies(x.device):
            assert not isinstance(plain.padding, str)
            return torch.cudnn_convolution_relu(
                x.to(plain.weight.dtype), plain.weight, plain.bias,
                plain.stride, plain.padding, plain.dilation, plain.groups,
            )  # fmt: skip
        return picture(add_table(rows(unbiased(plain, x)), plain.bias, activation=self.activation))


class FlowConv2d(nn.Module):
    """A convolution of a flow's two channels, its bias and an activation in one kernel."""

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: nn.Conv2d, activation: Activation = "none") -> None:
        super().__init__()
        assert plain.bias is not None
        self.side, self.activation = plain.kernel_size[0], activation
        weight = packed(plain.weight)
        wide = max(16, triton.next_power_of_2(plain.out_channels))
        self.register_buffer("weight", F.pad(weight, (0, wide - plain.out_channels, 0, -len(weight) % 32)))
        self.register_buffer("bias", plain.bias.detach())

    @staticmethod
    def serves(module: nn.Module) -> TypeGuard[nn.Conv2d]:
        """Whether ``module`` is such a convolution that keeps the size."""
        if not isinstance(module, nn.Conv2d) or module.in_channels != 2 or module.stride != (1, 1):
            return False
        side = module.kernel_size[0]
        return module.kernel_size == (side, side) and module.padding == (side // 2, side // 2)

    def forward(self, flow: Float[Tensor, "b 2 h w"]) -> Float[Tensor, "b d h w"]:
        return picture(convolve_flow(flow, self.weight, self.bias, self.side, self.activation))


class TritonResBlock(nn.Module):
    """``ResBlock``: the first bias is added by the second norm, the second one by the sum.

    ``parts``: how many pictures of equal width its input is given in, which are never put together. Where the block is
    narrow, the sum and the shortcut are made inside its second convolution.
    """

    bias: Tensor

    def __init__(self, plain: ResBlock, parts: int = 1) -> None:
        super().__init__()
        self.plain = plain
        assert plain.conv2.bias is not None
        bias = plain.conv2.bias.detach().float()
        shortcuts: tuple[Tensor, ...] = ()
        if isinstance(plain.shortcut, nn.Conv2d):
            assert plain.shortcut.bias is not None
            bias = bias + plain.shortcut.bias.detach().float()
            shortcuts = plain.shortcut.weight.detach().flatten(1).chunk(parts, dim=1)
        self.register_buffer("bias", bias)
        self.shortcuts = nn.ParameterList(_fixed(part.contiguous()) for part in shortcuts)
        self.narrow = self.joined = None
        if is_narrow(plain.conv2) and all(part.shape[1] in _JOINED for part in shortcuts):
            self.narrow = _fixed(packed(plain.conv2.weight))
            self.joined = nn.ParameterList(_fixed(part.T.contiguous()) for part in shortcuts)

    def forward(self, *parts: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b d h w"]:
        """``parts``: side by side, its input."""
        plain = self.plain
        parts = tuple(x.to(plain.conv1.weight.dtype).contiguous(memory_format=torch.channels_last) for x in parts)
        if len(parts) == 1:
            normed = group_norm(plain.norm1, parts[0], swish=True)
        else:
            normed = group_norm_joined(plain.norm1, parts, swish=True)
        hidden = unbiased(plain.conv1, normed).contiguous(memory_format=torch.channels_last)
        hidden = group_norm(plain.norm2, hidden, swish=True, before=plain.conv1.bias, inplace=True)
        return picture(self._add(rows(hidden), [rows(x) for x in parts]))

    def _add(self, hidden: Float[Tensor, "b h w d"], parts: list[Tensor]) -> Float[Tensor, "b h w d"]:
        """The second convolution plus the shortcut."""
        if self.narrow is not None:
            assert self.joined is not None
            joined = tuple(Joined(x, weight) for x, weight in zip(parts, self.joined, strict=False))
            other = None if joined else parts[0]
            return convolve_narrow(hidden, self.narrow, self.bias, other=other, joined=joined)
        shortcut = parts[0]
        if self.shortcuts:
            shortcut = F.linear(parts[0], self.shortcuts[0])
            for x, weight in zip(parts[1:], list(self.shortcuts)[1:], strict=True):
                shortcut.view(-1, shortcut.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), weight.T)
        return add_table(rows(unbiased(self.plain.conv2, picture(hidden))), self.bias, other=shortcut)


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach(), requires_grad=False)


class PhaseConv2d(nn.Module):
    """Nearest x2, a 3 x 3 convolution and an activation: by phases, put in their places in one pass."""

    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Float[Tensor, "d4 c 2 2"], bias: Float[Tensor, " d"], activation: Activation = "none"
    ) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.register_buffer("weight", weight.detach().contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        phases = F.conv2d(x.to(self.weight.dtype), self.weight, None, padding=1)
        return picture(join_phases(rows(phases), self.bias, self.activation))


class TritonAttentionBlock(nn.Module):
    """``AttentionBlock`` with one product for query, key and value."""

    weight: Tensor
    bias: Tensor

    def __init__(self, plain: AttentionBlock) -> None:
        super().__init__()
        self.norm, self.out = plain.norm, plain.out
        parts = (plain.query, plain.key, plain.value)
        self.register_buffer("weight", torch.cat([part.weight.detach().flatten(1) for part in parts]))
        self.register_buffer("bias", torch.cat([part.bias.detach() for part in parts if part.bias is not None]))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x.to(self.weight.dtype).contiguous(memory_format=torch.channels_last)
        hidden = F.linear(rows(group_norm(self.norm, x, swish=False)), self.weight, self.bias)
        query, key, value = rearrange(hidden, "b h w (p c) -> p b 1 (h w) c", p=3)
        attended = F.scaled_dot_product_attention(query, key, value)
        out = F.linear(rearrange(attended, "b 1 (h w) c -> b h w c", h=x.shape[2]), self.out.weight.flatten(1))
        assert self.out.bias is not None
        return picture(add_table(out, self.out.bias, other=rows(x)))
