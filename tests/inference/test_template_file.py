import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from synhead.config import from_json
from synhead.data.errors import MediaError
from synhead.inference.fingerprint import ModelFingerprint
from synhead.inference.template import TemplateError, TemplateOrigin
from synhead.inference.template_file import (
    FORMAT_VERSION,
    HEADER,
    Header,
    HeaderWithFaces,
    _content,
    is_template,
    read_template,
    write_template,
)
from tests.inference.test_template import faces, template


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "motion.safetensors"


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[HEADER])  # noqa: SIM118


def rewrite(path: Path, tensors, header) -> None:
    save_file(tensors, path, metadata={HEADER: header if isinstance(header, str) else json.dumps(header)})


def refused(path: Path, error: type[Exception] = TemplateError) -> str:
    with pytest.raises(error) as caught:
        read_template(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


times = st.lists(st.fractions(min_value=0, max_value=5000, max_denominator=90000), min_size=1, max_size=8, unique=True)


@given(times, st.integers(1, 90000))
@settings(max_examples=30, deadline=None)
def test_everything_comes_back(tmp_path_factory, times, rate):
    moments = tuple(sorted(times))
    durations = tuple(Fraction(1, rate) * (i + 1) for i in range(len(moments)))
    written = template(len(moments), times=moments, durations=durations, rate=Fraction(rate, 1001), reference=0)
    path = tmp_path_factory.mktemp("t") / "motion.safetensors"
    write_template(path, written)
    found = read_template(path)
    assert torch.equal(found.keypoints.position, written.keypoints.position)
    assert torch.equal(found.keypoints.jacobian, written.keypoints.jacobian)
    for name in ("times", "durations", "rate", "time_base", "origin", "reference"):
        assert getattr(found, name) == getattr(written, name)


def test_what_is_in_it(path):
    write_template(path, template())
    tensors, header = parts(path)
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        "position": (5, 15, 2),
        "jacobian": (5, 15, 2, 2),
        "times": (5, 2),
        "durations": (5, 2),
    }
    assert header["version"] == 1
    assert header["rate"] == "30000/1001"
    assert header["origin"]["model"]["weights"] == "a" * 64


def test_faces_come_back_to_the_last_bit(path):
    written = replace(faces(5), announced=7)
    write_template(path, template(faces=written))
    found = read_template(path).faces
    assert torch.equal(found.points, written.points)
    assert torch.equal(found.measures.view(torch.int64), written.measures.view(torch.int64))
    assert (found.analyzer, found.announced) == (written.analyzer, 7)


def test_a_file_has_the_lowest_version_that_can_hold_it(path):
    write_template(path, template())
    assert parts(path)[1]["version"] == 1
    write_template(path, template(faces=faces(5)))
    tensors, header = parts(path)
    assert header["version"] == FORMAT_VERSION == 2
    assert {name: tuple(t.shape) for name, t in tensors.items() if name.startswith("face")} == {
        "face_points": (5, 468, 2),
        "face_measures": (5, 5),
    }


def test_templates_of_version_1_are_read_as_ever():
    """Their checksum, as the version that knew no faces computed it."""
    origin = TemplateOrigin(model=ModelFingerprint(weights="a" * 64, config="b" * 64), checkpoint="weights/base")
    header = Header(version=1, synhead="0.1.0", origin=origin, rate="30000/1001", time_base="1/30000")
    tensors = {
        "position": torch.zeros(2, 1, 2),
        "jacobian": torch.eye(2).repeat(2, 1, 1, 1),
        "times": torch.tensor([[0, 1], [1, 25]]),
        "durations": torch.tensor([[1, 25], [1, 25]]),
    }
    assert _content(header, tensors) == "e32a5434990f88ef83b0c13951f2eea61093155257979dc78f34ce7de50a7091"


@pytest.mark.parametrize(("version", "told"), [(1, "unknown field(s) faces"), (0, "no template format 0")])
def test_faces_need_the_version_that_has_them(path, version, told):
    write_template(path, template(faces=faces(5)))
    tensors, header = parts(path)
    rewrite(path, tensors, {**header, "version": version})
    assert told in refused(path)


@pytest.mark.parametrize("given", [None, [], {}, {"analyzer": 1}, {"analyzer": "mesh", "announced": "all"}])
def test_a_damaged_header_of_faces(path, given):
    write_template(path, template(faces=faces(5)))
    tensors, header = parts(path)
    rewrite(path, tensors, {**header, "faces": given})
    assert "damaged" in refused(path)
    del header["faces"]
    rewrite(path, tensors, header)
    assert "damaged" in refused(path)


@pytest.mark.parametrize(
    ("announced", "measures", "told"),
    [
        (-1, torch.zeros(5, 5, dtype=torch.float64), "in part only"),
        (5, torch.tensor([[0.1, float("nan"), 0.0, 0.0, 0.0]] * 5, dtype=torch.float64), "in part only"),
        (5, torch.zeros(4, 5, dtype=torch.float64), "unexpected"),
    ],
)
def test_senseless_faces(path, announced, measures, told):
    """A file whose checksum is right, as another program might write it."""
    write_template(path, template(faces=faces(5)))
    tensors, header = parts(path)
    changed = {**tensors, "face_measures": measures}
    header["faces"]["announced"] = announced
    honest = from_json(HeaderWithFaces, json.dumps(header))
    rewrite(path, changed, {**header, "content": _content(honest, changed)})
    assert told in refused(path)


def test_the_same_template_makes_the_same_file(path):
    written = []
    for _ in range(8):
        write_template(path, template(faces=faces(5)))
        written.append(path.read_bytes())
    assert len(set(written)) == 1


def test_others_may_read_it_as_the_umask_says(path):
    write_template(path, template())
    (path.parent / "plain").touch()
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode


def test_a_newer_version(path):
    write_template(path, template())
    tensors, header = parts(path)
    rewrite(path, tensors, {**header, "version": FORMAT_VERSION + 1, "novelty": [1]})
    assert "upgrade synhead" in refused(path)


@pytest.mark.parametrize("keep", [1, 7, 8, 200, -1])
@pytest.mark.parametrize("with_faces", [False, True])
def test_truncated(path, keep, with_faces):
    write_template(path, template(faces=faces(5) if with_faces else None))
    path.write_bytes(path.read_bytes()[:keep])
    assert "record it again" in refused(path)


@pytest.mark.parametrize(("with_faces", "every"), [(False, 37), (True, 101)])
def test_any_changed_byte_is_seen(path, with_faces, every):
    write_template(path, template(2, faces=faces(2) if with_faces else None))
    whole = path.read_bytes()
    for at in range(8, len(whole), every):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            read_template(path)
        except TemplateError:
            continue
        pytest.fail(f"byte {at} of {len(whole)} was changed unnoticed")


@pytest.mark.parametrize(
    "header",
    [
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"version": ' + "9" * 5000 + "}",
        '"text"',
        '{"version": "one"}',
        '{"version": 1}',
    ],
)
def test_a_damaged_header(path, header):
    write_template(path, template())
    rewrite(path, parts(path)[0], header)
    assert "damaged" in refused(path)


def test_something_else(path):
    save_file({"weight": torch.zeros(3)}, path)
    assert "synhead record CLIP -o motion.safetensors" in refused(path)
    path.write_bytes(b"RIFF no safetensors at all" * 50)
    assert "damaged or no motion template" in refused(path)
    path.unlink()
    refused(path, MediaError)


@pytest.mark.parametrize(
    "change",
    [
        {"position": torch.zeros(5, 15, 3)},
        {"position": torch.zeros(5, 15, 2, dtype=torch.float64)},
        {"position": torch.zeros(0)},
        {"jacobian": torch.zeros(4, 15, 2, 2)},
        {"times": torch.zeros(5, 2)},
        {"more": torch.zeros(1)},
    ],
)
def test_unexpected_tensors(path, change):
    write_template(path, template())
    tensors, header = parts(path)
    rewrite(path, {**tensors, **change}, header)
    assert "unexpected" in refused(path) or "not durations" in refused(path)


def test_absurd_sizes_are_refused_before_reading(path):
    frames = 1_000_001
    tensors = {
        "position": torch.zeros(frames, 1, 2),
        "jacobian": torch.zeros(frames, 1, 2, 2),
        "times": torch.ones(frames, 2, dtype=torch.int64),
        "durations": torch.ones(frames, 2, dtype=torch.int64),
    }
    write_template(path, template())
    rewrite(path, tensors, parts(path)[1])
    assert f"{frames} frames" in refused(path)


def sealed(path: Path, header: dict[str, object] | None = None, **tensors: torch.Tensor) -> None:
    """A file whose checksum is right but whose contents make no sense, as another program might write it."""
    write_template(path, template())
    found, given = parts(path)
    changed, text = {**found, **tensors}, {**given, **(header or {})}
    honest = from_json(Header, json.dumps(text))
    rewrite(path, changed, {**text, "content": _content(honest, changed)})


def test_senseless_contents(path):
    sealed(path, position=torch.full((5, 15, 2), float("nan")))
    assert "no numbers" in refused(path)
    sealed(path, times=torch.zeros(5, 2, dtype=torch.int64))
    assert "damaged" in refused(path)
    sealed(path, times=torch.ones(5, 2, dtype=torch.int64))
    assert "do not grow" in refused(path)
    sealed(path, header={"reference": 5})
    assert "no frame 5" in refused(path)


@pytest.mark.parametrize("rate", ["1e999999999", "", "25/0", "fast", "-25", "9" * 400, f"1/{2**31}"])
def test_senseless_rates(path, rate):
    sealed(path, header={"rate": rate})
    refused(path)


def test_a_failure_leaves_the_earlier_file(path, monkeypatch):
    path.write_bytes(b"earlier")

    def full_disk(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="space"):
        write_template(path, template())
    assert path.read_bytes() == b"earlier"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_names(tmp_path):
    assert is_template(Path("a.safetensors"))
    assert not is_template(Path("a.mp4"))
    with pytest.raises(MediaError, match="safetensors"):
        write_template(tmp_path / "motion.mp4", template())
    clip = tmp_path / "clip.safetensors"
    clip.write_bytes(b"clip")
    with pytest.raises(MediaError, match="is the input"):
        write_template(clip, template(), inputs=(clip,))


def test_times_that_do_not_fit_the_file(path):
    with pytest.raises(TemplateError, match="convert"):
        write_template(path, template(1, times=(Fraction(1, 2**63),), durations=(Fraction(1),)))
    assert not path.exists()
