"""What the compiler makes of the attention kernel for a GPU, which need not be there: a program of its own.

Prints, as JSON, which instructions of the PTX make the arguments of exponentials.
"""

from __future__ import annotations

import json
import re

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from synhead.nn.triton_attention import _attention_kernel

STRIDES = tuple(f"{part}_{step}" for part in ("query", "key", "value") for step in ("item", "head", "row"))
TYPES = {
    "query": "*bf16", "key": "*bf16", "value": "*bf16", "ignored": "*u8", "out": "*bf16", "sums": "*fp32",
    "scale": "fp32", "queries": "i32", "keys": "i32", **dict.fromkeys(STRIDES, "i32"),
}  # fmt: skip
CONSTANTS = {
    "width": 16, "HEADS": 6, "IGNORED": True, "UNEVEN": False, "SUMS": True, "ALIGN": 16, "M": 128, "N": 64, "D": 16,
    "STAGES": 3,
}  # fmt: skip


def exponents(ptx: str) -> list[str]:
    """Instructions whose results exponentials take."""
    made = {name: code for code, name in re.findall(r"^\s*(\S+)\s+(%\w+), .*;", ptx, flags=re.MULTILINE)}
    return sorted({made[name] for name in re.findall(r"ex2\.approx\S*\s+%\w+, (%\w+);", ptx)})


if __name__ == "__main__":
    names = [parameter.name for parameter in _attention_kernel.params]
    source = ASTSource(
        _attention_kernel,
        {name: TYPES.get(name, "constexpr") for name in names},
        {(names.index(name),): value for name, value in CONSTANTS.items()},
    )
    kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8})
    print(json.dumps(exponents(kernel.asm["ptx"])))  # noqa: T201 - the parent reads it
