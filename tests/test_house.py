"""The house keeps its budgets (README, "The house"): sizes, parameters, prints, and figure 1 in one short file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "synhead").rglob("*.py"))
APP = ROOT / "src" / "synhead" / "app"

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_CLASS_LINES = 200
MAX_PARAMETERS = 6
MAX_FIGURE_LINES = 149

Function = ast.FunctionDef | ast.AsyncFunctionDef


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def lines(node: Function | ast.ClassDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def body_lines(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.body[0].lineno + 1


def parameters(function: Function) -> list[ast.arg]:
    """All parameters but self, cls and an autograd function's ctx."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument for argument in named if argument.arg not in ("self", "cls", "ctx")]


def is_command(function: Function, path: Path) -> bool:
    """``synhead NAME`` is function NAME of app/NAME.py or app/NAME/command.py; its parameters are its options."""
    return path in (APP / f"{function.name}.py", APP / function.name / "command.py")


def is_kernel(function: Function) -> bool:
    """A Triton kernel: pointers, strides and block sizes cannot travel in a dataclass."""
    return any(ast.unparse(decorator).startswith("triton.jit") for decorator in function.decorator_list)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_budgets(path: Path) -> None:
    over = []
    length = len(path.read_text(encoding="utf-8").splitlines())
    if length > MAX_FILE_LINES:
        over.append(f"file has {length} lines, at most {MAX_FILE_LINES}")
    for node in nodes(path):
        if isinstance(node, ast.ClassDef) and lines(node) > MAX_CLASS_LINES:
            over.append(f"class {node.name} has {lines(node)} lines, at most {MAX_CLASS_LINES}")
        if not isinstance(node, Function):
            continue
        length = body_lines(node) if is_command(node, path) else lines(node)
        if length > MAX_FUNCTION_LINES:
            over.append(f"function {node.name} has {length} lines, at most {MAX_FUNCTION_LINES}")
        if len(parameters(node)) > MAX_PARAMETERS and not (is_command(node, path) or is_kernel(node)):
            over.append(f"function {node.name} takes {len(parameters(node))} parameters, at most {MAX_PARAMETERS}")
    assert not over, f"{name(path)}: " + "; ".join(over)


@pytest.mark.parametrize("path", [p for p in SOURCES if APP not in p.parents], ids=name)
def test_only_app_prints_or_parses_arguments(path: Path) -> None:
    found = nodes(path)
    calls = {ast.unparse(node.func) for node in found if isinstance(node, ast.Call)}
    assert not calls & {"print", "sys.exit", "exit", "argparse.ArgumentParser", "eval", "exec"}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "__init__.py"], ids=name)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_star_imports(path: Path) -> None:
    assert not [n for n in nodes(path) if isinstance(n, ast.ImportFrom) and any(a.name == "*" for a in n.names)]


def test_figure_one_fits_a_screen_or_two() -> None:
    figure = ROOT / "src" / "synhead" / "model" / "talking_head.py"
    assert len(figure.read_text(encoding="utf-8").splitlines()) <= MAX_FIGURE_LINES


def test_files_end_with_one_newline_and_hold_no_absolute_home_paths() -> None:
    home = "/" + "root/"
    for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert not text or text.endswith("\n"), name(path)
        assert home not in text, name(path)
