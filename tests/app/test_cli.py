"""The program as a whole: fast help, versions, one-line errors, Ctrl-C."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
from typer.core import TyperGroup

import synhead
from synhead.app.cli import app, main
from synhead.app.errors import explain, guarded
from synhead.app.progress import FrameProgress
from synhead.data.errors import MediaError
from tests.app.conftest import FRAMES, Finished

Run = Callable[..., Finished]


def test_help_needs_no_heavy_import() -> None:
    heavy = "torch numpy av PIL safetensors huggingface_hub rich.progress"
    code = f"import sys, synhead.app.cli; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "animate",
        "verify",
        "train",
        "evaluate",
        "score",
        "ablate",
        "figures",
        "live",
        "study",
        "web",
        "convert",
        "export",
        "info",
        "doctor",
    ],
)
def test_every_command_has_help(run: Run, command: str) -> None:
    finished = run(command, "--help")
    assert finished.code == 0
    assert "Usage" in finished.out


def test_version(run: Run) -> None:
    assert run("--version").out.startswith("synhead ")


def test_unknown_option_is_an_error_of_use(run: Run) -> None:
    assert run("animate", "--no-such-option").code == 2


def test_options_that_errors_name_exist() -> None:
    """A remedy that the program then refuses as unknown is none."""
    program = typer.main.get_command(app)
    assert isinstance(program, TyperGroup)
    commands = (program, *program.commands.values())
    known = {name for command in commands for each in command.params for name in (*each.opts, *each.secondary_opts)}
    for path in Path(synhead.__path__[0]).rglob("*.py"):
        raised = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise)]
        texts = [str(each.value) for node in raised for each in ast.walk(node) if isinstance(each, ast.Constant)]
        named = {option for text in texts for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
        assert named <= known, path


def assert_one_line_error(finished: Finished, *parts: str) -> None:
    lines = finished.err.strip().splitlines()
    assert finished.code == 2
    assert lines[-1].startswith("error: ")
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert "Traceback" not in finished.err
    assert all(part in lines[-1] for part in parts), lines[-1]


def bad_inputs(folder: Path, media: Path) -> dict[str, tuple[Path, Path]]:
    """Name to (portrait, driver)."""
    portrait, driving = media / "portrait.jpg", media / "driving.mp4"
    text, cut, blank = folder / "text.mp4", folder / "cut.jpg", folder / "blank.png"
    text.write_text("not a video\n")
    cut.write_bytes(portrait.read_bytes()[:100])
    blank.touch()
    return {
        "missing portrait": (folder / "nobody.jpg", driving),
        "missing driver": (portrait, folder / "nothing.mp4"),
        "text as video": (portrait, text),
        "cut portrait": (cut, driving),
        "empty portrait": (blank, driving),
        "folder as driver": (portrait, folder),
    }


BAD = ["missing portrait", "missing driver", "text as video", "cut portrait", "empty portrait", "folder as driver"]


@pytest.mark.parametrize("case", BAD)
def test_bad_media_gives_one_line_and_no_output(run: Run, case: str, media: Path, tmp_path: Path) -> None:
    portrait, driver = bad_inputs(tmp_path, media)[case]
    out = tmp_path / "out"
    out.mkdir()
    finished = run("animate", portrait, driver, "-o", out / "out.mp4", "--preset", "tiny")
    assert_one_line_error(finished)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--checkpoint", "/no/such/folder"), ("/no/such/folder",)),
        (("--preset", "huge"), ("huge", "tiny")),
        (("--preset", "tiny", "--checkpoint", "a/b"), ("--checkpoint", "--preset")),
        (("--preset", "tiny", "--device", "cuda:99"), ("cuda:99",)),
        (("--preset", "tiny", "--device", "toaster"), ("toaster",)),
        (("--preset", "tiny", "-o", "out.txt"), ("out.txt", ".mp4")),
        (("--preset", "tiny", "--crop", "1,2,3"), ("1,2,3", "LEFT,TOP,RIGHT,BOTTOM")),
        (("--preset", "tiny", "--face", "best"), ("best", "largest")),
        (("--preset", "tiny", "--crop-shift", "a,b"), ("a,b", "RIGHT,DOWN")),
        (("--preset", "tiny", "--reference", "-3"), ("-3", "auto")),
        (("--preset", "tiny", "--multiplier", "9"), ("9", "5")),
        (("--preset", "tiny", "--crf", "60"), ("crf 60", "0 (best) to 51")),
        (("--preset", "tiny", "-o", "out.gif", "--crf", "20"), ("a .gif file has no crf", "leave crf out", ".mp4")),
        (("--preset", "tiny", "-o", "out", "--codec", "h264"), ("PNGs has no codec", "leave codec out", ".mp4")),
        (("--preset", "tiny", "--label", "生成AI"), ("生 成", "without them")),
    ],
)
def test_bad_options_give_one_line_with_a_remedy(
    run: Run, options: tuple[str, ...], parts: tuple[str, ...], media: Path, tmp_path: Path
) -> None:
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.mp4", *options)
    assert_one_line_error(run(*given), *parts)
    assert not list(tmp_path.iterdir())


def test_debug_at_any_place_shows_the_traceback(media: Path, tmp_path: Path) -> None:
    given = ["animate", "nobody.jpg", str(media / "driving.mp4"), "-o", str(tmp_path / "o.mp4"), "--preset", "tiny"]
    with pytest.raises(MediaError):
        main([*given, "--debug"])
    with pytest.raises(SystemExit):
        main(given)


def test_interrupt_leaves_nothing(run: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: FrameProgress, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrameProgress, "update", interrupt)
    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.mp4", "--preset", "tiny")
    finished = run(*given, "--batch", 1, "--crop", "center")
    assert finished.code == 130
    assert "nothing was left half-written" in finished.err
    assert not list(tmp_path.iterdir())


def test_interrupt_while_faces_are_looked_for(
    run: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mediapipe")
    monkeypatch.setattr("synhead.inference.footage._remembered", {})
    told: list[tuple[str, int, int | None]] = []

    def interrupt(self: FrameProgress, what: str, done: int, total: int | None) -> None:
        told.append((what, done, total))
        if done == 2:
            raise KeyboardInterrupt

    given = ("animate", media / "portrait.jpg", media / "driving.mp4", "-o", tmp_path / "out.mp4", "--preset", "tiny")
    with monkeypatch.context() as patch:
        patch.setattr(FrameProgress, "look", interrupt)
        finished = run(*given, "--crop", "center")
    assert finished.code == 130
    assert told == [("faces in driving.mp4", 1, FRAMES), ("faces in driving.mp4", 2, FRAMES)]
    assert not list(tmp_path.iterdir())
    finished = run(*given, "--crop", "center", "--json")
    assert json.loads(finished.out)["frames"] == FRAMES
    assert "finding" not in finished.err  # no terminal, no bar


def test_faults_of_the_program_keep_their_traceback() -> None:
    @guarded
    def broken() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        broken()


def test_system_errors_name_path_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    @guarded
    def full() -> None:
        raise OSError(28, "No space left on device", "out.mp4")

    with pytest.raises(typer.Exit) as stop:
        full()
    assert stop.value.exit_code == 2
    assert capsys.readouterr().err.startswith("error: out.mp4: No space left on device; check")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out of GPU memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"), "out of GPU memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (MemoryError("Unable to allocate 45.8 GiB for an array"), "out of memory"),
    ],
)
def test_too_little_memory_is_one_line_with_remedies(error: Exception, told: str) -> None:
    line = explain(error)
    assert line is not None
    assert line.startswith(f"{told}; choose a smaller --batch")


def test_missing_extra_is_named() -> None:
    assert explain(ModuleNotFoundError("No module named 'mediapipe'", name="mediapipe")) == (
        "mediapipe is not installed; pip install 'synhead[faces]'"
    )
    assert explain(ModuleNotFoundError("No module named 'oops'", name="oops")) is None
