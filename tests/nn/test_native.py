"""Compiling and loading the kernels; what they compute is tested with the blocks that call them."""

import shutil
import stat

import pytest

from synhead.config import ConfigError
from synhead.nn import native
from tests.native import needs_compiler


@pytest.fixture
def fresh():
    """No library remembered from another folder of the same name."""
    native.load_kernels.cache_clear()


@needs_compiler
def test_compiled_once(tmp_path, fresh, monkeypatch):
    first = native.load_kernels(tmp_path / "new")
    assert first.width % first.lanes == 0
    assert first.lanes in (4, 8, 16)
    (library,) = (tmp_path / "new").iterdir()
    native.load_kernels.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert native.load_kernels(library.parent).lanes == first.lanes, "the kept library needs no compiler"


def test_without_a_compiler_the_remedy_is_named(tmp_path, fresh, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="install gcc or clang"):
        native.load_kernels(tmp_path)


def test_a_failing_compiler_leaves_nothing(tmp_path, fresh, monkeypatch):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho no such target >&2\nexit 1\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(shutil, "which", lambda _: str(compiler))
    with pytest.raises(ConfigError, match="no such target"):
        native.load_kernels(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_broken_library_is_named(tmp_path, fresh):
    broken = tmp_path / f"kernels-{native._key()}.so"
    broken.write_bytes(b"not a library")
    with pytest.raises(ConfigError, match="delete it"):
        native.load_kernels(tmp_path)


def test_another_cpu_gets_its_own(monkeypatch):
    before = native._key()
    monkeypatch.setattr(native, "_cpu", lambda: "flags: sse2")
    assert native._key() != before
