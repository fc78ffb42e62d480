"""The manifest as c2pa-python reads it: the words that the specification asks for, and none of the user's."""

from __future__ import annotations

import json
from pathlib import Path

import c2pa
import pytest

from synhead.config.version import version
from synhead.provenance.credentials import Credentials
from synhead.provenance.manifest import MEDIA_TYPES, read_manifest
from synhead.provenance.marker import Marker
from synhead.provenance.statement import SOURCE_TYPES, Statement
from tests.output_kinds import write
from tests.provenance.conftest import SAID


def manifest_of(path: Path) -> dict:
    with path.open("rb") as file, c2pa.Reader(MEDIA_TYPES[path.suffix], file) as reader:
        store = json.loads(reader.json())
    assert store["validation_state"] == "Valid"
    return store["manifests"][store["active_manifest"]]


@pytest.mark.parametrize("source_type", ["trained", "composite"])
def test_the_manifest_says_created_by_a_trained_model(tmp_path: Path, source_type, signer: Credentials) -> None:
    statement = Statement(source_type=source_type, model="base", model_sha256="cd" * 32)
    manifest = manifest_of(write(tmp_path / "a.mp4", Marker(statement, signer)))
    said = {assertion["label"]: assertion for assertion in manifest["assertions"]}
    actions = said["c2pa.actions.v2"]["data"]["actions"]
    assert [(a["action"], a["digitalSourceType"]) for a in actions] == [("c2pa.created", SOURCE_TYPES[source_type])]
    assert said["org.synhead.model"]["data"] == {"name": "base", "sha256": "cd" * 32}
    assert said["c2pa.actions.v2"]["created"]
    generator = manifest["claim_generator_info"][0]
    assert (generator["name"], generator["version"]) == ("Synhead", version())


def test_no_thumbnail_no_title_no_ingredient(tmp_path: Path, signer: Credentials) -> None:
    manifest = manifest_of(write(tmp_path / "a.png", Marker(SAID, signer)))
    assert not {"thumbnail", "title", "ingredients"} & manifest.keys()
    assert manifest["signature_info"].get("time") is None


def test_the_photo_is_an_ingredient_on_request(tmp_path: Path, signer: Credentials) -> None:
    photo = write(tmp_path / "a.jpg")
    manifest = manifest_of(write(tmp_path / "a.mp4", Marker(Statement(source_photo=photo), signer)))
    assert [(i["title"], i["relationship"]) for i in manifest["ingredients"]] == [("source photo", "inputTo")]


def test_no_manifest(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path / "a.png"), None) is None


@pytest.mark.parametrize("suffix", [".mp4", ".png", ".jpg", ".gif"])
def test_a_file_that_is_none_of_its_kind_holds_no_mark(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"no media at all" * 50)
    report = read_manifest(tmp_path / f"a{suffix}", None)
    assert report is None or not report.is_intact
