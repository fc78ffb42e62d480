"""Termination and a closed terminal end a command as Ctrl-C does."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from synhead.app import stopping
from synhead.app.console import remark
from synhead.app.errors import guarded
from synhead.app.stopping import Terminated, stopped_by_signals
from synhead.data.files import replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
BOTH = ["SIGTERM", "SIGHUP"]


class Hung(io.StringIO):
    """A terminal that was closed."""

    def write(self, _: str) -> int:
        raise OSError(5, "Input/output error")


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """As in a program that was just started, whatever the tests run under."""
    before = {name: signal.signal(getattr(signal, name), signal.SIG_DFL) for name in BOTH}
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def ask(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_cleans_up_and_gives_its_code(
    name: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @guarded
    def work() -> None:
        with replacing(tmp_path / "out.txt") as partial:
            partial.write_text("half")
            ask(name)

    with pytest.raises(typer.Exit) as stop:
        work()
    assert stop.value.exit_code == code
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().err == "stopped: nothing was left half-written\n"
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_DFL


@pytest.mark.parametrize("name", BOTH)
def test_what_is_ignored_stays_ignored(name: str) -> None:
    """As under nohup."""
    signal.signal(getattr(signal, name), signal.SIG_IGN)
    with stopped_by_signals():
        ask(name)
    assert signal.getsignal(getattr(signal, name)) is signal.SIG_IGN


def test_handlers_of_a_command_work(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []

    @guarded
    def serve() -> None:
        signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
        ask("SIGTERM")

    serve()
    assert asked == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_that_come_together_are_one_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned: list[str] = []

    def work() -> None:
        try:
            ask("SIGHUP")
        finally:
            ask("SIGHUP")
            ask("SIGTERM")
            cleaned.append("all")

    with pytest.raises(Terminated) as stop, stopped_by_signals():
        work()
    assert cleaned == ["all"]
    assert stop.value.number == signal.SIGHUP
    monkeypatch.setattr(stopping, "_SAME_S", 0.0)  # a later one ends a clean-up that takes too long
    with pytest.raises(Terminated) as stop, stopped_by_signals():
        work()
    assert cleaned == ["all"]


def test_a_forked_worker_dies_of_it_as_before() -> None:
    with stopped_by_signals():
        child = os.fork()
        if child == 0:
            try:
                ask("SIGTERM")
            finally:
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_a_closed_terminal_takes_no_code_and_no_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    @guarded
    def work() -> None:
        try:
            ask("SIGHUP")
        finally:
            sys.stderr.write("the last of a bar")

    monkeypatch.setattr(sys, "stderr", Hung())
    remark("nobody sees this")
    with pytest.raises(typer.Exit) as stop:
        work()
    assert stop.value.exit_code == 129


def test_other_threads_arrange_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with stopped_by_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]


def test_the_program_itself() -> None:
    """The signal, the message and the code as the parent sees them."""
    code = (
        "import signal, time; from synhead.app.errors import guarded; import typer;"
        "app = typer.Typer(); app.command()(guarded(lambda: (print('ready', flush=True), time.sleep(60)))); app()"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.terminate()
    _, told = running.communicate(timeout=30)
    assert (running.returncode, told) == (143, "stopped: nothing was left half-written\n")
