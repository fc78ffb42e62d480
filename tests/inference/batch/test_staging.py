"""Outputs that wait: where, what is known of them, and what is cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from synhead.data.files import replacing, replacing_folder
from synhead.inference.batch.staging import Seal, discard, publish, seal, staged_path

MARK = "0123456789ab"
NAMES = ["a.mp4", "b", "a name of many characters, more than forty of them.webm", "odd[1]*.gif", ".hidden", ".x.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_the_waiting_output_is_of_the_same_kind_and_folder(tmp_path: Path, name: str) -> None:
    staged = staged_path(tmp_path / name, MARK)
    assert (staged.parent, staged.suffix) == (tmp_path, Path(name).suffix)
    assert MARK in staged.name
    assert staged != staged_path(tmp_path / name, MARK[::-1])


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a.mp4").symlink_to(tmp_path / "real" / "b.mp4")
    staged = staged_path(tmp_path / "a.mp4", MARK)
    assert staged.parent == tmp_path / "real"
    staged.write_text("x")
    publish(staged, tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").is_symlink()
    assert (tmp_path / "real" / "b.mp4").read_text() == "x"


def test_a_private_output_stays_private(tmp_path: Path) -> None:
    output = tmp_path / "a.mp4"
    output.touch(0o600)
    staged = staged_path(output, MARK)
    staged.touch(0o644)
    publish(staged, output)
    assert output.stat().st_mode & 0o777 == 0o600


def test_a_seal_knows_every_byte_and_every_name(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.mp4", tmp_path / "b"
    assert seal(file) is None
    file.write_bytes(b"abc")
    assert seal(file) == Seal(3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    folder.mkdir()
    (folder / "0.png").write_bytes(b"abc")
    (folder / "1.png").write_bytes(b"de")
    before = seal(folder)
    assert before is not None
    assert before.size == 5
    (folder / "1.png").write_bytes(b"df")
    assert seal(folder) != before
    (folder / "1.png").write_bytes(b"de")
    assert seal(folder) == before
    (folder / "1.png").rename(folder / "2.png")
    assert seal(folder) != before


@pytest.mark.parametrize("name", NAMES)
def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    staged, neighbour = staged_path(output, MARK), staged_path(output, MARK[::-1])
    writers = [(replacing if path.suffix else replacing_folder)(path) for path in (staged, neighbour)]
    for writer in writers:  # as if killed: never left
        temporary = writer.__enter__()
        if not temporary.is_dir():
            temporary.write_text("a part")
            temporary.with_name(f"{temporary.stem}.signed{temporary.suffix}").write_text("half of a mark")
    output.write_text("earlier")
    kept = {p for p in tmp_path.iterdir() if MARK[::-1] in p.name} | {output}
    if staged.suffix:
        staged.write_text("whole")
    assert len(list(tmp_path.iterdir())) == (6 if staged.suffix else 3)
    discard(output, MARK)
    assert set(tmp_path.iterdir()) == kept
    assert output.read_text() == "earlier"
    discard(output, MARK)


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    output = tmp_path / "b"
    staged = staged_path(output, MARK)
    for folder, text in ((output, "old"), (staged, "new")):
        folder.mkdir()
        (folder / "0.png").write_text(text)
    publish(staged, output)
    assert (output / "0.png").read_text() == "new"
    assert list(tmp_path.iterdir()) == [output]
