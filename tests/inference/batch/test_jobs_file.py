"""Jobs files: what they hold, and that whatever is wrong with them is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from synhead.config import ConfigError
from synhead.inference.batch.jobs_file import read_jobs
from synhead.inference.job import OutputOptions
from synhead.inference.motion_edits import MotionEdits
from tests.inference.batch.doubles import jobs_of, line, write_jobs


def faults(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        read_jobs(path, batch_size=8)
    return str(raised.value)


def test_a_line_is_a_job(tmp_path: Path) -> None:
    given = line(
        "out/a.mp4",
        name="first",
        reference=2,
        options={"crf": 30, "key": "key.pem"},
        framing={"crop": "box", "box": [0, 0, 10, 10]},
        animator={"motion": "relative", "edits": {"multiplier": 1.5, "smoothing": {"frames": 2}}, "fit": "pad"},
    )
    (job,) = read_jobs(write_jobs(tmp_path, given), batch_size=3)
    assert (job.name, job.line, job.key) == ("first", 1, "out/a.mp4")
    assert (job.job.source, job.job.output) == (tmp_path / "portrait.jpg", tmp_path / "out" / "a.mp4")
    assert job.job.options == OutputOptions(crf=30, key=tmp_path / "key.pem")
    assert job.job.framing.box == (0.0, 0.0, 10.0, 10.0)
    assert (job.animator.edits.multiplier, job.animator.fit, job.animator.batch_size) == (1.5, "pad", 3)


def test_defaults_absolute_paths_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = write_jobs(tmp_path, line(str(tmp_path / "a.mp4")), line("b.mp4", animator={"batch_size": 2}))
    path.write_bytes(b"\xef\xbb\xbf\n" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    first, second = read_jobs(path, batch_size=5)
    assert (first.name, first.line, first.job.output) == (str(tmp_path / "a.mp4"), 2, tmp_path / "a.mp4")
    assert (first.animator.batch_size, second.animator.batch_size) == (5, 2)
    assert first.animator.edits == MotionEdits()


def test_the_digest_knows_every_field_but_neither_folder_nor_name_nor_batch(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (job,) = jobs_of(tmp_path, "a.mp4")
    (moved,) = jobs_of(tmp_path / "other", "a.mp4", name="renamed")
    assert job.digest == moved.digest
    (bigger,) = read_jobs(write_jobs(tmp_path, line("a.mp4")), batch_size=99)
    assert job.digest == bigger.digest
    changes: list[dict[str, object]] = [{"reference": 1}, {"options": {"crf": 3}}, {"animator": {"motion": "absolute"}}]
    digests = {jobs_of(tmp_path, "a.mp4", **change)[0].digest for change in changes}
    assert len(digests | {job.digest}) == 4


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"colour": 1}, "unknown field(s) colour"),
        ({"reference": "first"}, "AnimationJob.reference: expected int"),
        ({"reference": -1}, "reference -1 is no frame's index"),
        ({"options": {"codec": "divx"}}, "AnimationJob.options.codec: 'divx' is not one of"),
        ({"options": {"max_side": 3}}, "max side 3"),
        ({"framing": {"face": "nose"}}, "nose"),
        ({"driving_framing": {"face": "all"}}, "one face drives"),
        ({"animator": {"motion": "sideways"}}, "AnimatorOptions.motion"),
        ({"animator": []}, "AnimatorOptions: expected an object"),
        ({"animator": None}, "AnimatorOptions: expected an object"),
        ({"name": 3}, "name: expected words"),
        ({"name": "a\nb"}, "name: expected words"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path: Path, fields: dict[str, object], said: str) -> None:
    told = faults(write_jobs(tmp_path, line("a.mp4"), line("b.mp4", **fields)))
    assert "line 2: " in told
    assert said in told
    assert "line 1" not in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object, got list"),
        ('{"source": "a"}', "driving, output must be given"),
        ("[" * 100_000, "not JSON"),
        ('{"source": "a", "source": "b", "driving": "c", "output": "d.mp4"}', "the field source comes twice"),
        ('{"source": "a", "driving": "c", "output": "d.mp4", "options": {"crf": 1, "crf": 2}}', "the field crf comes"),
    ],
)
def test_a_line_that_is_no_job(tmp_path: Path, text: str, said: str) -> None:
    path = write_jobs(tmp_path, line("a.mp4"))
    path.write_text(path.read_text() + "\n" + text + "\n")
    assert f"line 3: {said}" in faults(path)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = write_jobs(tmp_path, *(line("a.mp4", wrong=1) for _ in range(25)))
    told = faults(path)
    assert "line 20: " in told
    assert told.endswith("and 5 more")


def test_nothing_in_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n\n")
    assert "holds no jobs" in faults(path)
    path.write_bytes(b"\xff\xfe{}")
    assert "not text in UTF-8" in faults(path)


@pytest.mark.parametrize("second", ["a.mp4", "./a.mp4", "here/../a.mp4", "link/a.mp4"])
def test_one_output_twice(tmp_path: Path, second: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    told = faults(write_jobs(tmp_path, line("a.mp4"), line("c.mp4"), line(second)))
    assert "line 3: output" in told
    assert "that of line 1 too" in told


def test_one_name_twice(tmp_path: Path) -> None:
    told = faults(write_jobs(tmp_path, line("a.mp4", name="x"), line("b.mp4", name="x")))
    assert "line 2: name 'x' is that of line 1 too" in told


def test_an_output_that_another_job_reads(tmp_path: Path) -> None:
    told = faults(write_jobs(tmp_path, line("a.mp4"), line("b.mp4") | {"driving": "a.mp4"}))
    assert "line 2: input" in told
    assert "the output of line 1" in told


def test_an_output_in_the_folder_that_another_job_writes(tmp_path: Path) -> None:
    told = faults(write_jobs(tmp_path, line("out/frames/a.mp4"), line("out/frames")))
    assert "line 1: output out/frames/a.mp4 lies in that of line 2" in told
    told = faults(write_jobs(tmp_path, line("frames"), line("b.mp4", source="frames/000000.png")))
    assert f"line 2: input {tmp_path / 'frames' / '000000.png'} is the output of line 1" in told
    assert len(jobs_of(tmp_path, "frames")) == 1


def test_the_lines_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "batch.md").read_text(encoding="utf-8")
    path = tmp_path / "jobs.jsonl"
    path.write_text(page.split("```json\n")[1].split("```")[0])
    assert [job.name for job in read_jobs(path, batch_size=8)] == ["out/anna.mp4", "Ben nods", "out/cleo"]
