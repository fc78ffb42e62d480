"""The pages of docs/ keep their word: commands and options exist, as do settings, links, files and imports."""

from __future__ import annotations

import ast
import json
import pkgutil
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer

from synhead.app.cli import app
from synhead.app.models import untrained
from synhead.config import PRESETS, preset
from synhead.data.image import write_image
from synhead.losses.config import PerceptualName
from synhead.training.config import RunConfig
from synhead.weights import checkpoint
from tests.data.clip_factory import write_video

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "weights" / "base" / "README.md"]
COMMAND = re.compile(r"^synhead (\w+) ?(.*)$")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
FILES = ("md", "onnx", "safetensors")
SETTING = re.compile(r"(?<![\w./])(?:training|losses|model|data)(?:\.[a-z]\w*)+")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Lines of the page's shell blocks, remarks left out."""
    lines = [line for block in blocks(page, "(?:sh)?") for line in block.replace("\\\n", " ").splitlines()]
    return [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]


@cache
def ours() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def options(name: str) -> set[str]:
    found = {option for each in ours()[name].params for option in (*each.opts, *each.secondary_opts)}
    return {option for option in found if option.startswith("-")} | {"--help"}


@each_page
def test_commands_parse(page: Path) -> None:
    """With their options, and as many arguments as they take; what the files named hold is not looked at."""
    for line in commands(page):
        found = COMMAND.match(line)
        if found is None:
            continue
        command = ours()[found[1]]
        given = shlex.split(found[2].replace("...", " more"))
        values, extra, _ = command.make_parser(typer.Context(command)).parse_args(given)
        assert not extra, line
        missing = [each.name for each in command.params if each.required and not values.get(str(each.name))]
        assert not missing, line


@each_page
def test_settings_are_fields_of_a_run(page: Path) -> None:
    config = RunConfig(model=preset("paper"))
    for name in set(SETTING.findall(read(page))):
        if name.rpartition(".")[2] in FILES:
            continue
        value: object = config
        for part in name.split("."):
            assert hasattr(value, part), name
            value = getattr(value, part)


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", read(page)):
        there = (page.parent / target) if target else page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", read(there), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@each_page
def test_python_imports_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        found = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(found, []), page.name, "exec"), {})


@each_page
def test_scripts_have_these_options(page: Path) -> None:
    text = [*commands(page), *re.findall(r"`((?:python )?(?:benchmarks|scripts)/\w+\.py[^`]*)`", read(page))]
    for line in text:
        found = re.search(r"((?:benchmarks|scripts)/\w+\.py)(.*)", line)
        if found is not None:
            known = set(re.findall(r'"(--[a-z][a-z-]*)"', read(ROOT / found[1])))
            assert set(OPTION.findall(found[2].split(" -- ")[0])) <= known, line


@each_page
def test_names_of_the_package_lead_somewhere(page: Path) -> None:
    for name in re.findall(r"`(synhead(?:\.\w+)+)", read(page)):
        if name != "synhead.motion":  # a template's field
            assert pkgutil.resolve_name(name) is not None


def test_jobs_from_python_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(untrained("tiny"), tmp_path / "weights" / "base")
    write_image(tmp_path / "a.png", np.full((64, 64, 3), 99, np.uint8))
    write_video(tmp_path / "b.mp4", frames=2, size=64)
    centre = {"crop": "center"}
    job = {"source": "a.png", "driving": "b.mp4", "output": "c.mp4", "framing": centre, "driving_framing": centre}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job))
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs" / "batch.md", "python")
    names: dict[str, Any] = {}
    exec(compile(block, "batch.md", "exec"), names)
    assert len(names["queue"].done) == 1
    assert (tmp_path / "c.mp4").is_file()


def test_tables_of_the_command_line_name_options_that_exist() -> None:
    sections = re.split(r"^## ", read(ROOT / "docs" / "cli.md"), flags=re.MULTILINE)
    told = {section.partition("\n")[0]: OPTION.findall(section) for section in sections}
    known = {name: set(found) - options(name) for name, found in told.items() if name in ours()}
    assert len(known) >= 10
    assert not set().union(*known.values())
    told["animate"] += ["--checkpoint", "--preset"]  # of the section on weights
    for name in ("animate", "live", "batch", "record", "prepare"):
        assert options(name) <= {*told[name], "--help", "--output", "-o"}


@pytest.mark.parametrize("name", ["train", "ablate"])
def test_help_names_every_choice(name: str) -> None:
    told = {each.name: each.help for each in ours()[name].params}
    assert set(PRESETS) <= set(re.findall(r"\w+", told["preset"]))
    assert set(get_args(PerceptualName)) <= set(re.findall(r"[\w-]+", told["perceptual"]))


@each_page
def test_extras_are_those_of_the_package(page: Path) -> None:
    """And of what its errors tell to install."""
    section = read(ROOT / "pyproject.toml").partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", section, flags=re.MULTILINE))
    told = [read(page), *(read(path) for path in (ROOT / "src").rglob("*.py") if page == PAGES[0])]
    for extras in re.findall(r"install [^`]*'(?:synhead|\.)\[([a-z,]+)\]'", "\n".join(told)):
        assert set(extras.split(",")) <= known, extras


def test_tests_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"tests/[\w/]+\.py", read(page)):
            assert (ROOT / name).is_file(), (page.name, name)
