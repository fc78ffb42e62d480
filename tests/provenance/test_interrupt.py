"""Ctrl-C, as the terminal sends it, to a process that writes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synhead.provenance.marker import default_marker
from tests.output_kinds import FOLDER, contents, write

ROOT = Path(__file__).parents[2]
SCRIPT = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background inherits that it is ignored
from synhead.data.outputs import open_output
from synhead.provenance.marker import default_marker
from tests.output_kinds import pictures, spec
with open_output(Path(sys.argv[1]), spec(default_marker())) as output:
    output.write(pictures(1)[0])
    print("writing", flush=True)
    for _ in range(100_000):
        output.write(pictures(1)[0])
"""


@pytest.mark.parametrize("name", ["a.mp4", FOLDER])
def test_a_real_ctrl_c_loses_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, default_marker())
    before = contents(tmp_path)
    given = [sys.executable, "-c", SCRIPT, str(tmp_path / name)]
    with subprocess.Popen(given, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        time.sleep(0.2)
        assert len(list(tmp_path.iterdir())) == 2
        writer.send_signal(signal.SIGINT)
        try:
            assert writer.wait(timeout=30) != 0
        finally:
            writer.kill()
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == [name]
