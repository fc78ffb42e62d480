from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from synhead.app.web.workspace import PREFIX, open_workspace
from synhead.config import ConfigError

HOLD = """
import sys, time
from pathlib import Path
from synhead.app.web.workspace import open_workspace
with open_workspace(Path(sys.argv[1])) as workspace:
    (workspace.folder() / "portrait").write_bytes(b"x")
    print(workspace.root, flush=True)
    time.sleep(60)
"""


def test_folders_are_private_unguessable_and_gone_afterwards(tmp_path: Path) -> None:
    with open_workspace(tmp_path) as workspace:
        names = {workspace.folder().name for _ in range(20)}
        assert len(names) == 20
        assert {len(name) for name in names} == {32}
        assert stat.S_IMODE(workspace.root.stat().st_mode) == 0o700
        with workspace.scratch() as folder:
            (folder / "portrait").write_bytes(b"x")
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_is_removed_by_the_next(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    left = Path(holder.stdout.readline().strip())
    try:
        with open_workspace(tmp_path):
            assert left.is_dir()  # its server lives
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert left.is_dir()
    with open_workspace(tmp_path) as workspace:
        assert list(tmp_path.iterdir()) == [workspace.root]


def test_links_and_strangers_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo").write_bytes(b"x")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "mine")
    (tmp_path / f"{PREFIX}file").write_bytes(b"x")
    with open_workspace(tmp_path):
        pass
    assert (tmp_path / "mine" / "photo").exists()
    assert (tmp_path / f"{PREFIX}file").exists()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose another --folder"), open_workspace(tmp_path / "none"):
        pass
