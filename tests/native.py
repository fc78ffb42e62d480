"""The native kernels for tests: skipped where there is no compiler."""

from __future__ import annotations

import shutil

import pytest

from synhead.nn.native import Kernels, load_kernels

has_compiler = any(shutil.which(name) for name in ("cc", "gcc", "clang"))
needs_compiler = pytest.mark.skipif(not has_compiler, reason="this machine has no C compiler")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    """Compiled once for all tests."""
    if not has_compiler:
        pytest.skip("this machine has no C compiler")
    return load_kernels(tmp_path_factory.mktemp("kernels"))
