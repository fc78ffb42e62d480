import pytest
import torch

from synhead.geometry import triton_there
from synhead.geometry.triton_there import has_triton, takes_kernels


@pytest.fixture(autouse=True)
def _asked_anew():
    has_triton.cache_clear()
    yield
    has_triton.cache_clear()


@pytest.mark.parametrize(
    ("package", "compiler", "wanted"),
    [(True, "gcc", True), (True, "clang", True), (True, None, False), (False, "gcc", False)],
)
def test_triton_needs_a_compiler(monkeypatch, package, compiler, wanted):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(triton_there, "find_spec", lambda _: object() if package else None)
    monkeypatch.setattr(triton_there.shutil, "which", lambda name: f"/bin/{name}" if name == compiler else None)
    assert has_triton() is wanted
    assert takes_kernels(torch.device("cuda")) is wanted


def test_a_compiler_named_by_cc_will_do(monkeypatch):
    monkeypatch.setenv("CC", "mycc")
    monkeypatch.setattr(triton_there, "find_spec", lambda _: object())
    monkeypatch.setattr(triton_there.shutil, "which", lambda name: f"/bin/{name}" if name == "mycc" else None)
    assert has_triton()


def test_a_cpu_takes_none():
    assert not takes_kernels(torch.device("cpu"))
